using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>
/// A product (or convolution) of integers in one of the forms of ONNX Runtime's dynamic quantization: MatMulInteger or ConvInteger with
/// the Cast and the Mul by both scales behind it, com.microsoft MatMulIntegerToFloat, or com.microsoft DynamicQuantizeMatMul. All
/// compute <c>DequantizeLinear(a) DequantizeLinear(b) (+ bias)</c>, where b is a constant weight [K, N] or quantized activations too.
/// </summary>
internal sealed class IntegerProduct
{
    private IntegerProduct(Node node, Value result)
    {
        Node = node;
        Content = ConstantContent.DefaultOf(node.Inputs[1]);
        Result = result;
    }

    /// <summary>The operator that multiplies.</summary>
    public Node Node { get; }

    /// <summary>The integers: the operator's input 1.</summary>
    public Value Weight => Node.Inputs[1]!;

    /// <summary>Content of <see cref="Weight"/>; null if it is computed.</summary>
    public ITensor? Content { get; }

    /// <summary>The floating-point result.</summary>
    public Value Result { get; }

    /// <summary>The activations: integers, or floats where the operator quantizes them itself.</summary>
    public Value Activations => Node.Inputs[0]!;

    private Value WeightScale { get; init; } = null!;

    private Value? WeightZeroPoint { get; init; }

    // Null where the operator quantizes the activations itself.
    private Value? ActivationScale { get; init; }

    private Value? ActivationZeroPoint { get; init; }

    private Value? Bias { get; init; }

    // Nodes whose work the replacement does, last first.
    private IReadOnlyList<Node> Replaced { get; init; } = [];

    /// <summary>Recognises a product at the operator that multiplies, or returns null.</summary>
    public static IntegerProduct? Of(Node node)
    {
        if (node.InputOrNull(0) is null || node.InputOrNull(1) is null)
        {
            return null;
        }

        IntegerProduct? product = node.Is("MatMulInteger") || node.Is("ConvInteger") ? OfInteger(node)
            : node.Is("MatMulIntegerToFloat", OperatorDomains.Microsoft) && node.InputOrNull(2) is { } scale && node.InputOrNull(3) is { } weightScale
                ? new IntegerProduct(node, node.Outputs[0])
                {
                    ActivationScale = scale,
                    WeightScale = weightScale,
                    ActivationZeroPoint = node.InputOrNull(4),
                    WeightZeroPoint = node.InputOrNull(5),
                    Bias = node.InputOrNull(6),
                    Replaced = [node],
                }
            : node.Is("DynamicQuantizeMatMul", OperatorDomains.Microsoft) && node.InputOrNull(2) is { } dynamicScale
                ? new IntegerProduct(node, node.Outputs[0])
                {
                    WeightScale = dynamicScale,
                    WeightZeroPoint = node.InputOrNull(3),
                    Bias = node.InputOrNull(4),
                    Replaced = [node],
                }
            : null;
        return product is not null && product.Fits(product.WeightScale) && (product.WeightZeroPoint is null || product.Fits(product.WeightZeroPoint)) ? product : null;
    }

    /// <summary>
    /// Puts the product in DequantizeLinear's terms into the graph: the nodes of this form go, the result keeps its name and the
    /// product the operator's.
    /// </summary>
    /// <param name="opset">Opset of the model; 13 or later unless <paramref name="weight"/> is given.</param>
    /// <param name="weight">A float matrix [K, N] to multiply by; null for the integers, dequantized.</param>
    public void Rewrite(long opset, Value? weight = null)
    {
        GraphBuilder builder = new(Node.OwningGraph, opset, Node) { Scope = Node.Name + "/" };
        Value matrix = weight ?? builder.Op("DequantizeLinear", [Weight, Parameter(WeightScale), WeightZeroPoint is null ? null : Parameter(WeightZeroPoint)], ("axis", 1L));
        Value product = Node.Is("ConvInteger")
            ? builder.Op("Conv", [Dequantized(builder), matrix], [.. Node.Attributes.Select(a => (a.Key, a.Value))])
            : builder.MatMul(Dequantized(builder), matrix);
        Node multiplied = product.Producer!;
        foreach ((string key, string value) in Node.Metadata)
        {
            multiplied.Metadata[key] = value;
        }

        (string name, Value scales, string nodeName) = (Result.Name, WeightScale, Node.Name);
        Value sum = Bias is null ? product : builder.Add(product, Bias);
        sum.Type ??= Result.Type;
        sum.HasValueInfo = Result.HasValueInfo;
        Value?[] parameters = [.. Replaced.SelectMany(n => n.Inputs)];
        Result.ReplaceAllUsesWith(sum);
        foreach (Node node in Replaced)
        {
            node.OwningGraph.Remove(node);
        }

        sum.Name = name;
        multiplied.Name = nodeName;
        foreach (Value parameter in parameters.OfType<Value>().Where(p => p.Initializer is not null || (p.Producer is { Graph: not null } mul && mul.Is("Mul"))))
        {
            WeightInput.RemoveUnread(parameter);
        }

        // One scale for each column is a vector; one for all may be a vector of one, which DequantizeLinear takes for a per-axis scale.
        Value Parameter(Value value) => ConstantContent.DefaultOf(value) is { Dims.Length: > 0 } content && content.ElementCount() == 1
            ? builder.Graph.AddInitializer(builder.Graph.Names.Reserve(value.Name), new RetypedTensor(content, content.ElementType, []))
            : value;
    }

    private static IntegerProduct? OfInteger(Node node)
    {
        if (SoleReader(node.Outputs[0]) is not { } cast || !cast.Is("Cast") || !((DataType)cast.GetInt("to", 0)).IsFloatingPoint()
            || SoleReader(cast.Outputs[0]) is not { } mul || !mul.Is("Mul")
            || (mul.Inputs[0] == cast.Outputs[0] ? mul.Inputs[1] : mul.Inputs[0]) is not { Producer: { } scales } || !scales.Is("Mul"))
        {
            return null;
        }

        // The activations' scale comes from what quantized them, or is the one that is no constant.
        int activations = scales.Inputs[0]?.Producer is { } first && first == node.Inputs[0]?.Producer ? 0
            : scales.Inputs[1]?.Producer is { } second && second == node.Inputs[0]?.Producer ? 1
            : ConstantContent.DefaultOf(scales.InputOrNull(1)) is not null ? 0
            : ConstantContent.DefaultOf(scales.InputOrNull(0)) is not null ? 1
            : -1;
        return activations >= 0 && scales.InputOrNull(activations) is { } activationScale && scales.InputOrNull(1 - activations) is { } weightScale
            ? new IntegerProduct(node, mul.Outputs[0])
            {
                ActivationScale = activationScale,
                WeightScale = weightScale,
                ActivationZeroPoint = node.InputOrNull(2),
                WeightZeroPoint = node.InputOrNull(3),
                Replaced = [mul, cast, node],
            }
            : null;
    }

    private static Node? SoleReader(Value value) => value is { IsGraphOutput: false, Uses: [Use use] } ? use.Node : null;

    // One number, or one for each column of a matrix.
    private bool Fits(Value parameter) => ConstantContent.DefaultOf(parameter) is { } content
        ? content.ElementCount() == 1 || (content.Dims is [long length] && Content?.Dims is [_, long columns] && length == columns)
        : parameter.Shape is null or { Rank: 0 };

    // Products of one input share its dequantization.
    private Value Dequantized(GraphBuilder builder)
    {
        (Value integers, Value? scale, Value? zeroPoint) = (Activations, ActivationScale, ActivationZeroPoint);
        if (scale is null)
        {
            IReadOnlyList<Value> quantized = builder.Emit("DynamicQuantizeLinear", "", [Activations], 3).Outputs;
            (integers, scale, zeroPoint) = (quantized[0], quantized[1], quantized[2]);
        }

        Node? present = integers.Uses.Select(u => u.Node).FirstOrDefault(n =>
            n.Is("DequantizeLinear") && n.Inputs[0] == integers && n.Inputs[1] == scale && n.InputOrNull(2) == zeroPoint && n.Attributes.Count == 0 && n.Graph == Node.Graph);
        return present?.Outputs[0] ?? builder.Op("DequantizeLinear", [integers, scale, zeroPoint]);
    }
}
