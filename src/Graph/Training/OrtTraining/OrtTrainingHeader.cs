using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training.OrtTraining;

/// <summary>
/// Brings a model's header to what ONNX Runtime 1.19.2, the last release with on-device training, accepts: opset up to 21, IR
/// version up to 10. Operators of later opsets are the same under opset 21 but for the new ones, which get their earlier form
/// where they have one, and the new attributes; the others are refused by name.
/// </summary>
internal static class OrtTrainingHeader
{
    /// <summary>The latest opset that ONNX Runtime 1.19.2 accepts.</summary>
    internal const long Opset = 21;

    /// <summary>A version of the file format that ONNX Runtime 1.19.2 accepts, and that has all element types of opset 21.</summary>
    internal const long IrVersion = 10;

    /// <summary>Version of ONNX Runtime's contributed operators.</summary>
    internal const long MicrosoftVersion = 1;

    /// <summary>Operators of ONNX's own domain that came after opset 21.</summary>
    private static readonly HashSet<string> LaterOperators =
        ["Attention", "RotaryEmbedding", "TensorScatter", "CumProd", "BitCast", "LinearAttention", "CausalConvWithState"];

    /// <summary>Attributes of older operators that came after opset 21.</summary>
    private static readonly HashSet<(string Operator, string Attribute)> LaterAttributes =
    [
        ("QuantizeLinear", "precision"), ("DequantizeLinear", "output_dtype"), ("Cast", "round_mode"), ("CastLike", "round_mode"),
    ];

    /// <summary>Element types that came after IR version 10.</summary>
    private static readonly HashSet<DataType> LaterTypes = [DataType.Float4E2M1, DataType.Float8E8M0, DataType.UInt2, DataType.Int2];

    /// <summary>Sets opset and IR version, and rewrites what has an earlier form.</summary>
    /// <exception cref="ConfigurationException">The model uses what later versions brought; every place is listed.</exception>
    internal static void Apply(OnnxModel model, string role)
    {
        EarlierForms.Write(model);
        string[] faults = [.. model.Graph.AllNodes().SelectMany(Faults).Concat(model.Graph.Initializers.Where(i => LaterTypes.Contains(i.ElementType))
            .Select(i => $"initializer '{i.Name}' has the element type {i.ElementType.OnnxName()}")).Distinct()];
        if (faults.Length > 0)
        {
            throw new ConfigurationException(
                $"The {role} model uses what ONNX Runtime 1.19.2, the last release with on-device training, does not know (it ends at opset {Opset}, IR version {IrVersion}): "
                + $"{string.Join("; ", faults)}. Export the model with opset {Opset} or lower, or train with the session engine.");
        }

        model.Opset = Math.Min(model.Opset, Opset);
        model.IrVersion = IrVersion;
    }

    private static IEnumerable<string> Faults(Node node)
    {
        if (node.Domain.Length > 0)
        {
            yield break;
        }

        if (LaterOperators.Contains(node.OpType))
        {
            yield return $"{node.Describe()} came after opset {Opset}";
        }

        foreach (string attribute in node.Attributes.Select(a => a.Key).Where(a => LaterAttributes.Contains((node.OpType, a))))
        {
            yield return $"attribute '{attribute}' of {node.Describe()} came after opset {Opset}";
        }
    }
}
