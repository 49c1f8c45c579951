using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.Adapters;

/// <summary>A graph with every kind of layer that adapters touch: embedding [9, 4], projection 4 to 6 with bias, head 6 to 9.</summary>
internal static class SmallDecoder
{
    public static OnnxModel Build(DataType type = DataType.Float, bool isTied = false, long opset = 21)
    {
        OnnxGraph graph = new("decoder");
        OnnxModel model = new(graph) { Opset = opset, IrVersion = 10 };
        GraphBuilder builder = new(graph, opset);
        Value ids = graph.AddInput("input_ids", DataType.Int64, new Shape(Dimension.Of("batch"), Dimension.Of("sequence")));
        Value table = graph.AddInitializer("model.embed_tokens.weight", Weights(type, 1, 9, 4));
        Value hidden = Op("/model/embed_tokens/Gather", "Gather", table, ids);
        hidden = Op("/model/fc/MatMul", "MatMul", hidden, graph.AddInitializer("onnx::MatMul_7", Weights(type, 2, 4, isTied ? 4 : 6)));
        hidden = Op("/model/fc/Add", "Add", hidden, graph.AddInitializer("model.fc.bias", Weights(type, 3, isTied ? 4 : 6)));
        Value head = isTied ? Op("/lm_head/Transpose", "Transpose", table) : graph.AddInitializer("onnx::MatMul_9", Weights(type, 4, 6, 9));
        Value logits = Op("/lm_head/MatMul", "MatMul", hidden, head);
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

    /// <summary>Ids [2, 3] of the vocabulary.</summary>
    public static Dictionary<string, ITensor> Feeds() => new() { ["input_ids"] = DenseTensor.Of([2, 3], [1L, 5, 8, 0, 3, 3]) };

    public static ITensor Weights(DataType type, int seed, params long[] dims)
    {
        Random random = new(seed);
        float[] values = [.. Enumerable.Range(0, (int)dims.Aggregate(1L, (a, b) => a * b)).Select(_ => (float)random.NextDouble() - 0.5f)];
        return type == DataType.Float16 ? DenseTensor.Of(dims, Array.ConvertAll(values, v => (Half)v)) : DenseTensor.Of(dims, values);
    }
}
