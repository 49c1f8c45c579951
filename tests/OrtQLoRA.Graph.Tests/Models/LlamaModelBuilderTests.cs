using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Models;

[TestClass]
public sealed class LlamaModelBuilderTests
{
    private static readonly LlamaModelOptions Small = new()
    {
        HiddenSize = 24,
        IntermediateSize = 40,
        LayerCount = 2,
        HeadCount = 6,
        KeyValueHeadCount = 2,
        VocabularySize = 50,
        Seed = 3,
    };

    [TestMethod]
    [DataRow("aidreams260k", 4, 4, 4, 172, 128)]
    [DataRow("stories260k", 5, 8, 4, 172, 512)]
    public void Build_WithTheWeightsOfATrainedModel_GivesItsLogits(string name, int layers, int heads, int keyValueHeads, int wide, int context)
    {
        using OnnxModel reference = OnnxModelReader.Read(Fixtures.Require($"models/{name}.onnx"));
        LlamaModelOptions options = new()
        {
            HiddenSize = 64,
            IntermediateSize = wide,
            LayerCount = layers,
            HeadCount = heads,
            KeyValueHeadCount = keyValueHeads,
            VocabularySize = 512,
            ContextLength = context,
        };
        Dictionary<string, ITensor> weights = reference.Graph.Initializers.ToDictionary(i => i.Name, i => i.Initializer!);
        Dictionary<string, ITensor> feeds = Feeds(512, (2, 17), unpadded: 17);

        foreach (int opset in (int[])[17, 18, 19, 21])
        {
            using OnnxModel built = LlamaModelBuilder.Build(options with { Opset = opset }, weights);

            TensorAssert.AreClose(OrtRunner.Run(reference, feeds)["logits"], OrtRunner.Run(built, feeds)["logits"], 1e-5, $"logits at opset {opset}");
        }
    }

    [TestMethod]
    public void Build_SeededWeights_FollowTheSeedAlone()
    {
        using OnnxModel first = LlamaModelBuilder.Build(Small);
        using OnnxModel second = LlamaModelBuilder.Build(Small);
        using OnnxModel other = LlamaModelBuilder.Build(Small with { Seed = 4 });

        CollectionAssert.AreEqual(OnnxModelWriter.ToBytes(first), OnnxModelWriter.ToBytes(second));
        CollectionAssert.AreNotEqual(OnnxModelWriter.ToBytes(first), OnnxModelWriter.ToBytes(other));
        float[] up = first.Graph.GetValue("model.layers.0.mlp.up_proj.weight").Initializer!.ToFloats();
        Assert.AreEqual(Small.InitializerRange, Math.Sqrt(up.Average(v => (double)v * v)), 0.1 * Small.InitializerRange);
    }

    [TestMethod]
    public void Build_PaddedRow_LeavesTheOtherTokensAsTheyAre()
    {
        using OnnxModel model = LlamaModelBuilder.Build(Small with { TieWordEmbeddings = true });
        Dictionary<string, ITensor> whole = Feeds(50, (1, 5), unpadded: 5);
        Dictionary<string, ITensor> padded = Feeds(50, (1, 9), unpadded: 5);
        long[] ids = padded["input_ids"].ToInt64s();
        whole["input_ids"].ToInt64s().CopyTo(ids, 0);
        padded["input_ids"] = DenseTensor.Of([1, 9], ids);

        float[] expected = OrtRunner.Run(model, whole)["logits"].ToFloats();
        float[] actual = OrtRunner.Run(model, padded)["logits"].ToFloats();

        TensorAssert.AreClose(expected, actual[..expected.Length], 1e-6);
    }

    [TestMethod]
    public void Build_Names_AreThoseOfPyTorchsExporter()
    {
        using OnnxModel model = LlamaModelBuilder.Build(Small);

        string[] nodes = [.. model.Graph.Nodes.Select(n => n.Name)];
        CollectionAssert.AllItemsAreUnique(nodes);
        foreach (string name in (string[])["/model/embed_tokens/Gather", "/model/layers.0/self_attn/q_proj/MatMul", "/model/layers.1/mlp/act_fn/Sigmoid", "/model/norm/Pow", "/lm_head/MatMul"])
        {
            CollectionAssert.Contains(nodes, name);
        }

        Assert.AreEqual("/model/layers.0/self_attn/q_proj/MatMul_output_0", model.Graph.Nodes.Single(n => n.Name == "/model/layers.0/self_attn/q_proj/MatMul").Outputs[0].Name);
        CollectionAssert.AreEqual(new[] { "input_ids", "attention_mask" }, model.Graph.Inputs.Select(i => i.Name).ToArray());
        CollectionAssert.AreEqual(new[] { "logits" }, model.Graph.Outputs.Select(o => o.Name).ToArray());
        CollectionAssert.IsSubsetOf(LlamaWeights.Shapes(Small).Select(s => s.Key).ToArray(), model.Graph.Initializers.Select(i => i.Name).ToArray());
    }

    [TestMethod]
    public void Build_ImpossibleOptions_ListsEachFault()
    {
        ConfigurationException zero = Assert.ThrowsExactly<ConfigurationException>(
            () => LlamaModelBuilder.Build(Small with { LayerCount = 0, VocabularySize = -1, RopeTheta = double.NaN, Opset = 16 }));
        ConfigurationException heads = Assert.ThrowsExactly<ConfigurationException>(() => LlamaModelBuilder.Build(Small with { HeadCount = 5 }));
        ConfigurationException odd = Assert.ThrowsExactly<ConfigurationException>(() => LlamaModelBuilder.Build(Small with { HeadSize = 5, KeyValueHeadCount = 4 }));

        Assert.HasCount(4, zero.Faults);
        StringAssert.Contains(heads.Message, "HeadCount 5");
        Assert.HasCount(2, odd.Faults);
    }

    [TestMethod]
    public void Build_WrongWeights_NamesThem()
    {
        Dictionary<string, ITensor> weights = new(LlamaWeights.Initialize(Small));
        weights.Remove("lm_head.weight");
        weights["model.norm.weight"] = DenseTensor.Vector(new float[23]);

        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(() => LlamaModelBuilder.Build(Small, weights));

        StringAssert.Contains(e.Message, "'lm_head.weight' [24, 50] is missing");
        StringAssert.Contains(e.Message, "float [23]");
    }

    private static Dictionary<string, ITensor> Feeds(int vocabulary, (int Batch, int Sequence) size, int unpadded)
    {
        Random random = new(1);
        int count = size.Batch * size.Sequence;
        long[] ids = [.. Enumerable.Range(0, count).Select(_ => (long)random.Next(vocabulary))];
        long[] mask = [.. Enumerable.Range(0, count).Select(i => i % size.Sequence < unpadded ? 1L : 0L)];
        return new Dictionary<string, ITensor>
        {
            ["input_ids"] = DenseTensor.Of([size.Batch, size.Sequence], ids),
            ["attention_mask"] = DenseTensor.Of([size.Batch, size.Sequence], mask),
        };
    }
}
