using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Export;

/// <summary>Makes a model that computes in fp16 or bf16 compute in fp32: weights, constants, casts, inputs and outputs.</summary>
internal static class PrecisionWidening
{
    /// <summary>Changes a model in place; one that is fp32 already stays as it is.</summary>
    /// <exception cref="ConfigurationException">A function of the model names fp16 itself.</exception>
    public static void Apply(OnnxModel model)
    {
        if (model.Functions.FirstOrDefault(f => f.Body.AllNodes().Any(NamesNarrowType)) is { } function)
        {
            throw new ConfigurationException($"The model's function '{function.Name}' computes in fp16 itself and cannot be widened. Export with --dtype fp16, or inline the model's functions first.");
        }

        Widen(model.Graph);
    }

    private static bool IsNarrow(DataType type) => type is DataType.Float16 or DataType.BFloat16;

    private static bool NamesNarrowType(Node node) =>
        node.Attributes.Any(a => IsTypeName(node, a.Key, a.Value) || (a.Value.Kind == AttributeKind.Tensor && IsNarrow(a.Value.AsTensor().ElementType)));

    // Cast's 'to', and 'dtype' or 'output_dtype' of operators that make values.
    private static bool IsTypeName(Node node, string name, NodeAttribute value) =>
        node.Domain.Length == 0 && value.Kind == AttributeKind.Int && name is "to" or "dtype" or "output_dtype" && IsNarrow((DataType)value.AsInt());

    private static void Widen(OnnxGraph graph)
    {
        foreach (Value value in graph.Initializers.ToArray())
        {
            if (IsNarrow(value.Initializer!.ElementType))
            {
                graph.SetInitializer(value, ConvertedTensor.To(value.Initializer, DataType.Float));
            }
        }

        foreach (Value value in graph.Values)
        {
            value.Type = Widened(value.Type);
        }

        foreach (Node node in graph.Nodes)
        {
            foreach ((string name, NodeAttribute value) in node.Attributes.ToArray())
            {
                if (IsTypeName(node, name, value))
                {
                    node.SetAttribute(name, (long)DataType.Float);
                }
                else if (value.Kind == AttributeKind.Tensor && IsNarrow(value.AsTensor().ElementType))
                {
                    node.SetAttribute(name, NodeAttribute.Of(ConvertedTensor.To(value.AsTensor(), DataType.Float)));
                }
            }

            foreach (OnnxGraph subgraph in node.Subgraphs)
            {
                Widen(subgraph);
            }
        }
    }

    private static OnnxType? Widened(OnnxType? type) => type switch
    {
        OnnxType.Tensor tensor when IsNarrow(tensor.ElementType) => tensor with { ElementType = DataType.Float },
        OnnxType.Sequence sequence => new OnnxType.Sequence(Widened(sequence.Element)),
        OnnxType.Optional optional => new OnnxType.Optional(Widened(optional.Element)),
        _ => type,
    };
}
