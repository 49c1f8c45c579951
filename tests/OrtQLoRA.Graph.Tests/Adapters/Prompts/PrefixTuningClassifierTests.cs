using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Prompts;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters.Prompts;

/// <summary>Prefix tuning of models whose output is made of one position or of a mean.</summary>
[TestClass]
public sealed class PrefixTuningClassifierTests
{
    private const int Width = 4;
    private static readonly long[] Tokens = [1L, 5, 8];
    private static readonly ITensor Table = SmallDecoder.Weights(DataType.Float, 1, 9, Width);
    private static readonly ITensor Head = SmallDecoder.Weights(DataType.Float, 2, Width, 3);
    private static readonly ITensor Prefix = SmallDecoder.Weights(DataType.Float, 3, 2, 2 * Width);

    [TestMethod]
    [DataRow("gather")]
    [DataRow("slice")]
    [DataRow("mean")]
    [DataRow("last")]
    public void Run_PooledOutput_LeavesOutTheVirtualPositions(string pooling)
    {
        using OnnxModel model = Build(pooling);
        AdapterInsertionPass pass = new(new PrefixTuningMethod(), new PrefixTuningConfig { VirtualTokens = 2 });
        pass.Run(model);

        ITensor logits = OrtRunner.Run(model, new Dictionary<string, ITensor>
        {
            ["input_ids"] = DenseTensor.Of([1, Tokens.Length], Tokens),
            [pass.Inserted.Parameters.Single().Name] = Prefix,
        })["logits"];

        TensorAssert.AreClose(Expected(pooling), logits.ToFloats(), 1e-5);
    }

    [TestMethod]
    public void Run_OutputOfAllPositionsMixed_IsRefusedByName()
    {
        using OnnxModel model = Build("flatten");

        string message = Assert.ThrowsExactly<ConfigurationException>(() => new AdapterInsertionPass(new PrefixTuningMethod(), new PrefixTuningConfig { VirtualTokens = 2 }).Run(model)).Message;

        StringAssert.Contains(message, "'logits'");
    }

    // One head; queries, keys and values are the embeddings themselves.
    private static OnnxModel Build(string pooling)
    {
        const long Opset = 21;
        OnnxGraph graph = new("classifier");
        OnnxModel model = new(graph) { Opset = Opset, IrVersion = 10 };
        GraphBuilder b = new(graph, Opset);
        Value ids = graph.AddInput("input_ids", DataType.Int64, new Shape(Dimension.Of("batch"), Dimension.Of("sequence")));
        Value x = b.Op("Gather", [graph.AddInitializer("embed_tokens.weight", Table), ids]);
        Value scores = b.MatMul(Heads(), b.Transpose(Heads(), 0, 1, 3, 2));
        Value mixed = b.MatMul(b.Op("Softmax", [scores], ("axis", -1)), Heads());
        Value hidden = b.Add(x, b.Reshape(b.Transpose(mixed, 0, 2, 1, 3), 0, 0, Width));
        Value pooled = pooling switch
        {
            "gather" => b.Op("Gather", [hidden, b.Scalar(0L)], ("axis", 1)),
            "slice" => b.Squeeze(b.Op("Slice", [hidden, b.Int64s(0), b.Int64s(1), b.Int64s(1)]), 1),
            "mean" => b.ReduceMean(hidden, false, 1),
            "last" => b.Squeeze(b.Op("GatherElements", [hidden, b.Expand(b.Unsqueeze(b.Op("ArgMax", [ids], ("axis", 1), ("keepdims", 1)), 2), b.Int64s(1, 1, Width))], ("axis", 1)), 1),
            _ => b.Op("ReduceMean", [b.Reshape(hidden, -1, Width), b.Int64s(0)], ("keepdims", 1)),
        };
        Value logits = b.MatMul(pooled, graph.AddInitializer("classifier.weight", Head));
        logits.Name = "logits";
        graph.AddOutput(logits);
        return model;

        Value Heads() => b.Transpose(b.Reshape(x, 0, 0, 1, Width), 0, 2, 1, 3);
    }

    private static float[] Expected(string pooling)
    {
        float[] table = Table.ToFloats();
        float[] prefix = Prefix.ToFloats();
        float[][] x = [.. Tokens.Select(t => table[(int)(t * Width)..(int)((t + 1) * Width)])];

        // A row of the prefix holds the layer's key, then its value.
        float[][] keys = [.. Enumerable.Range(0, 2).Select(r => prefix[(r * 2 * Width)..(((r * 2) + 1) * Width)]), .. x];
        float[][] values = [.. Enumerable.Range(0, 2).Select(r => prefix[(((r * 2) + 1) * Width)..((r + 1) * 2 * Width)]), .. x];
        double[][] hidden = [.. x.Select(q =>
        {
            double[] weights = [.. keys.Select(k => Math.Exp(k.Zip(q, (a, b) => (double)a * b).Sum()))];
            return (double[])[.. Enumerable.Range(0, Width).Select(i => q[i] + (weights.Zip(values, (w, v) => w * v[i]).Sum() / weights.Sum()))];
        })];
        double[] pooled = pooling switch
        {
            "mean" => [.. Enumerable.Range(0, Width).Select(i => hidden.Average(h => h[i]))],
            "last" => hidden[^1],
            _ => hidden[0],
        };
        float[] head = Head.ToFloats();
        return [.. Enumerable.Range(0, 3).Select(c => (float)Enumerable.Range(0, Width).Sum(i => pooled[i] * head[(i * 3) + c]))];
    }
}
