using OrtQLoRA.Graph.Inference;

namespace OrtQLoRA.Graph.IR;

/// <summary>
/// Emits nodes at one place of a graph, gives their outputs unique names under a scope and infers their types.
/// The short methods follow ONNX's operators; <see cref="Op"/> emits any other.
/// </summary>
public sealed class GraphBuilder
{
    private readonly Dictionary<(DataType Type, string Dims, string Content), Value> _constants = [];

    /// <summary>Creates a builder.</summary>
    /// <param name="graph">The graph to emit into.</param>
    /// <param name="opset">Version of ONNX's own operator set that the graph uses.</param>
    /// <param name="before">Emitted nodes stand before this node; null for the end of the graph.</param>
    public GraphBuilder(OnnxGraph graph, long opset, Node? before = null)
    {
        Graph = graph;
        Opset = opset;
        Before = before;
    }

    /// <summary>The graph to emit into.</summary>
    public OnnxGraph Graph { get; }

    /// <summary>Version of ONNX's own operator set that the graph uses.</summary>
    public long Opset { get; }

    /// <summary>Emitted nodes stand before this node; null for the end of the graph.</summary>
    public Node? Before { get; set; }

    /// <summary>Prefix of the names of emitted nodes and values, for example <c>grad/layers.0/</c>.</summary>
    public string Scope { get; set; } = "";

    /// <summary>Emits a node with one output.</summary>
    public Value Op(string opType, IEnumerable<Value?> inputs, params ReadOnlySpan<(string Name, NodeAttribute Value)> attributes) =>
        Emit(opType, "", inputs, 1, attributes).Outputs[0];

    /// <summary>Emits a node of any domain with any number of outputs.</summary>
    public Node Emit(
        string opType, string domain, IEnumerable<Value?> inputs, int outputCount, params ReadOnlySpan<(string Name, NodeAttribute Value)> attributes)
    {
        Node node = Graph.AddNode(opType, inputs, Graph.NodeNames.Reserve(Scope + opType), domain, Before);
        foreach ((string name, NodeAttribute value) in attributes)
        {
            node.SetAttribute(name, value);
        }

        for (int i = 0; i < outputCount; i++)
        {
            node.AddOutput(Graph.Names.Reserve($"{Scope}{opType}_out"));
        }

        NodeInference.Infer(node, Opset);
        return node;
    }

    /// <summary>A constant; equal constants emitted by this builder share one initializer.</summary>
    public Value Constant(DenseTensor content)
    {
        string bytes = content.ByteLength <= 64 ? Convert.ToHexString(content.Data.Span) : "";
        (DataType, string, string) key = (content.ElementType, string.Join(",", content.Dims), bytes);
        if (bytes.Length > 0 && _constants.TryGetValue(key, out Value? known) && known.Initializer is not null)
        {
            return known;
        }

        Value value = Graph.AddInitializer(Graph.Names.Reserve("const"), content);
        if (bytes.Length > 0)
        {
            _constants[key] = value;
        }

        return value;
    }

    /// <summary>A constant of rank 0.</summary>
    public Value Scalar<T>(T value)
        where T : unmanaged => Constant(DenseTensor.Scalar(value));

    /// <summary>A constant of rank 0 with the floating-point or integer type of <paramref name="like"/>.</summary>
    public Value ScalarLike(Value like, double value) => Scalar(like.ElementType, value);

    /// <summary>A constant of rank 0.</summary>
    /// <exception cref="GraphException">The type is no number.</exception>
    public Value Scalar(DataType type, double value) => Constant(ScalarTensor(type, value));

    /// <summary>A constant int64 tensor of rank 1.</summary>
    public Value Int64s(params long[] values) => Constant(DenseTensor.Vector(values));

    /// <summary>Emits <c>a + b</c>.</summary>
    public Value Add(Value a, Value b) => Op("Add", [a, b]);

    /// <summary>Emits <c>a - b</c>.</summary>
    public Value Sub(Value a, Value b) => Op("Sub", [a, b]);

    /// <summary>Emits <c>a * b</c>.</summary>
    public Value Mul(Value a, Value b) => Op("Mul", [a, b]);

    /// <summary>Emits <c>x * factor</c>, or <paramref name="x"/> itself if the factor is 1.</summary>
    public Value Mul(Value x, double factor) => factor == 1 ? x : Mul(x, ScalarLike(x, factor));

    /// <summary>Emits <c>a / b</c>.</summary>
    public Value Div(Value a, Value b) => Op("Div", [a, b]);

    /// <summary>Emits <c>-x</c>.</summary>
    public Value Neg(Value x) => Op("Neg", [x]);

    /// <summary>Emits the matrix product of the last two axes.</summary>
    public Value MatMul(Value a, Value b) => Op("MatMul", [a, b]);

    /// <summary>Emits a transposition; output axis i is input axis <c>perm[i]</c>.</summary>
    public Value Transpose(Value x, params long[] perm) => Op("Transpose", [x], ("perm", perm));

    /// <summary>Emits a reshape to a shape computed in the graph.</summary>
    public Value Reshape(Value x, Value shape) => Op("Reshape", [x, shape]);

    /// <summary>Emits a reshape; 0 copies the input's dimension, -1 takes the rest.</summary>
    public Value Reshape(Value x, params long[] dims) => Reshape(x, Int64s(dims));

    /// <summary>Emits the dimensions of a tensor as int64 of rank 1.</summary>
    public Value ShapeOf(Value x) => Op("Shape", [x]);

    /// <summary>Emits dimensions <paramref name="start"/> to <paramref name="end"/> - 1 as int64 of rank 1 (opset 15 and later).</summary>
    public Value ShapeOf(Value x, long start, long end) => Op("Shape", [x], ("start", start), ("end", end));

    /// <summary>Emits a sum over axes.</summary>
    public Value ReduceSum(Value x, bool keepDims, params long[] axes) => ReduceSum(x, Int64s(axes), keepDims);

    /// <summary>Emits a sum over axes computed in the graph; no axes leave the tensor as it is.</summary>
    public Value ReduceSum(Value x, Value axes, bool keepDims) =>
        Op("ReduceSum", [x, axes], ("keepdims", keepDims ? 1 : 0), ("noop_with_empty_axes", 1));

    /// <summary>Emits a mean over axes.</summary>
    public Value ReduceMean(Value x, bool keepDims, params long[] axes) => Opset >= 18
        ? Op("ReduceMean", [x, Int64s(axes)], ("keepdims", keepDims ? 1 : 0))
        : Op("ReduceMean", [x], ("axes", axes), ("keepdims", keepDims ? 1 : 0));

    /// <summary>Emits a conversion, or <paramref name="x"/> itself if it has the type already.</summary>
    public Value Cast(Value x, DataType type) => x.ElementType == type ? x : Op("Cast", [x], ("to", (long)type));

    /// <summary>Emits <c>condition ? a : b</c>, element by element.</summary>
    public Value Where(Value condition, Value a, Value b) => Op("Where", [condition, a, b]);

    /// <summary>Emits a broadcast to a shape computed in the graph.</summary>
    public Value Expand(Value x, Value shape) => Op("Expand", [x, shape]);

    /// <summary>Emits a concatenation.</summary>
    public Value Concat(long axis, params IEnumerable<Value> parts) => Op("Concat", parts, ("axis", axis));

    /// <summary>Emits the insertion of axes of size 1.</summary>
    public Value Unsqueeze(Value x, params long[] axes) => Op("Unsqueeze", [x, Int64s(axes)]);

    /// <summary>Emits the removal of axes of size 1.</summary>
    public Value Squeeze(Value x, params long[] axes) => Op("Squeeze", [x, Int64s(axes)]);

    private static DenseTensor ScalarTensor(DataType type, double value) => type switch
    {
        DataType.Float => DenseTensor.Scalar((float)value),
        DataType.Double => DenseTensor.Scalar(value),
        DataType.Float16 => DenseTensor.Scalar((Half)value),
        DataType.BFloat16 => new DenseTensor(type, [], BitConverter.GetBytes(RoundToBFloat16((float)value))),
        DataType.Int64 => DenseTensor.Scalar((long)value),
        DataType.Int32 => DenseTensor.Scalar((int)value),
        DataType.Bool => DenseTensor.Scalar(value != 0),
        _ => throw new GraphException($"A scalar constant of type {type.OnnxName()} cannot be made; the type of the value it goes with may not be inferred yet."),
    };

    private static ushort RoundToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}
