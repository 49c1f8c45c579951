using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Models;

/// <summary>
/// Emits nodes under the names that PyTorch's exporter gives: node <c>/model/layers.0/mlp/Mul</c>, the second one in that
/// module <c>/model/layers.0/mlp/Mul_1</c>, their outputs with <c>_output_0</c> behind.
/// </summary>
internal sealed class ExporterStyleEmitter(OnnxGraph graph, long opset)
{
    private readonly Dictionary<string, int> _counts = new(StringComparer.Ordinal);
    private readonly Dictionary<(DataType Type, string Dims, string Content), Value> _constants = [];

    /// <summary>Emits a node with one output.</summary>
    /// <param name="module">Path of the module, for example <c>/model/layers.0/mlp</c>.</param>
    /// <param name="opType">Operator of ONNX's own domain.</param>
    /// <param name="inputs">Values to read.</param>
    /// <param name="attributes">Attributes.</param>
    public Value Op(string module, string opType, Value[] inputs, params ReadOnlySpan<(string Name, NodeAttribute Value)> attributes) =>
        Named(null, module, opType, inputs, attributes);

    /// <summary>Emits a node whose output has a name of its own, as graph outputs have.</summary>
    public Value Named(string? outputName, string module, string opType, Value[] inputs, params ReadOnlySpan<(string Name, NodeAttribute Value)> attributes)
    {
        string name = Numbered($"{module}/{opType}");
        Node node = graph.AddNode(opType, inputs, name);
        foreach ((string key, NodeAttribute value) in attributes)
        {
            node.SetAttribute(key, value);
        }

        Value output = node.AddOutput(outputName ?? name + "_output_0");
        NodeInference.Infer(node, opset);
        return output;
    }

    /// <summary>Emits the mean over the last axis, which stays with length 1; the axis is an attribute before opset 18.</summary>
    public Value MeanOverLastAxis(string module, Value x) => opset >= 18
        ? Op(module, "ReduceMean", [x, Int64s(-1)], ("keepdims", 1))
        : Op(module, "ReduceMean", [x], ("axes", new long[] { -1 }), ("keepdims", 1));

    /// <summary>A float constant of rank 0.</summary>
    public Value Scalar(double value) => Constant(DenseTensor.Scalar((float)value));

    /// <summary>An int64 constant of rank 0.</summary>
    public Value Int64(long value) => Constant(DenseTensor.Scalar(value));

    /// <summary>An int64 constant of rank 1.</summary>
    public Value Int64s(params long[] values) => Constant(DenseTensor.Vector(values));

    private Value Constant(DenseTensor content)
    {
        (DataType, string, string) key = (content.ElementType, string.Join(',', content.Dims), Convert.ToHexString(content.Data.Span));
        if (!_constants.TryGetValue(key, out Value? value))
        {
            value = graph.AddInitializer(Numbered("/model/Constant") + "_output_0", content);
            _constants.Add(key, value);
        }

        return value;
    }

    private string Numbered(string stem)
    {
        int count = _counts.GetValueOrDefault(stem);
        _counts[stem] = count + 1;
        return count == 0 ? stem : $"{stem}_{count}";
    }
}
