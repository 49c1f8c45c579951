using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.Linears;

/// <summary>
/// Embedding [9, 4], times 2, a norm reduced to the product with its weight, a head: what Gemma has that other decoders have not.
/// </summary>
internal static class SmallGemma
{
    /// <summary>Builds the model as the TorchScript exporter writes it.</summary>
    /// <param name="normName">Name of the norm's initializer.</param>
    /// <param name="factorScope">Module of the product behind the embedding; null leaves it out.</param>
    /// <param name="normClass">Class of the norm in the metadata that the dynamo exporter writes.</param>
    /// <param name="headName">Name of the head's weight.</param>
    public static OnnxModel Build(string normName = "onnx::Mul_7", string? factorScope = "/model/embed_tokens", string? normClass = null, string headName = "onnx::MatMul_9")
    {
        const long Opset = 17;
        OnnxGraph graph = new("gemma");
        OnnxModel model = new(graph) { Opset = Opset, IrVersion = 8 };
        GraphBuilder builder = new(graph, Opset);
        Value ids = graph.AddInput("input_ids", DataType.Int64, new Shape(Dimension.Of("batch"), Dimension.Of("sequence")));
        Value hidden = Op("/model/embed_tokens/Gather", "Gather", graph.AddInitializer("model.embed_tokens.weight", Adapters.SmallDecoder.Weights(DataType.Float, 1, 9, 4)), ids);
        if (factorScope is not null)
        {
            hidden = Op(factorScope + "/Mul", "Mul", hidden, builder.Scalar(2f));
        }

        hidden = Op("/model/norm/Mul_1", "Mul", hidden, graph.AddInitializer(normName, NormWeights));
        if (normClass is not null)
        {
            hidden.Producer!.Metadata["pkg.torch.onnx.class_hierarchy"] = $"['Wrap', 'transformers.models.some.{normClass}', 'aten.mul.Tensor']";
            hidden.Producer!.Metadata["pkg.torch.onnx.name_scopes"] = "['', 'model.norm', 'mul']";
        }

        Value logits = Op("/lm_head/MatMul", "MatMul", hidden, graph.AddInitializer(headName, Adapters.SmallDecoder.Weights(DataType.Float, 2, 4, 9)));
        logits.Name = "logits";
        graph.AddOutput(logits);
        return model;

        Value Op(string name, string opType, params Value[] inputs)
        {
            Value value = builder.Op(opType, inputs);
            value.Producer!.Name = name;
            return value;
        }
    }

    /// <summary>What the norm multiplies by, 1 included.</summary>
    public static DenseTensor NormWeights => DenseTensor.Of([4], [1.25f, 0.5f, 1f, -0.75f]);
}
