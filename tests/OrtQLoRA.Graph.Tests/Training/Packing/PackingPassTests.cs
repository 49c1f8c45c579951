using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Graph.Training.Packing;
using OrtQLoRA.TestKit.Exports;

namespace OrtQLoRA.Graph.Tests.Training.Packing;

[TestClass]
public sealed class PackingPassTests
{
    [TestMethod]
    [DataRow("dyn18_llama_gqa", "Rotary 4")]
    [DataRow("ts17_llama_gqa", "Attention 2")]
    [DataRow("ts17_gpt2", "Attention 2")]
    [DataRow("genai_llama_fp32_cpu", "RmsNorm 5")]
    [DataRow("dyn23_llama_attention_op", "Attention 2")]
    public void Build_PackedWithNativeOperators_FusesWhatItFusesWithout(string name, string fused)
    {
        using ExportGradientCase exported = ExportGradientCase.Open(name);
        using OnnxModel model = exported.ReadModel();

        string packed = FusedOperators(model, exported.LossOutput, true);

        Assert.AreEqual(FusedOperators(model, exported.LossOutput, false), packed);
        Assert.Contains(fused, packed);
    }

    [TestMethod]
    public void Run_TokensMixedByConvolution_NamesTheNode()
    {
        using OnnxModel model = Decoder(b => b.Op("Conv", [b.Graph.GetValue("hidden"), b.Constant(DenseTensor.Of([4, 4, 3], new float[48]))], ("pads", new long[] { 2, 0 })));

        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(() => new PackingPass().Run(model));

        Assert.Contains("'Conv' at node", e.Message);
    }

    [TestMethod]
    public void Run_NoAttention_SaysSo()
    {
        using OnnxModel model = Decoder(b => b.Op("Relu", [b.Graph.GetValue("hidden")]));

        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(() => new PackingPass().Run(model));

        Assert.Contains("finds no attention", e.Message);
    }

    [TestMethod]
    public void Run_PositionsByAnotherOperator_NamesNodeAndTable()
    {
        using OnnxModel model = Decoder(b =>
        {
            Value places = b.Op("Range", [b.Scalar(0L), b.Squeeze(b.ShapeOf(b.Graph.GetValue("input_ids"), 1, 2), 0), b.Scalar(1L)]);
            return b.Op("Gather", [b.Graph.GetValue("hidden"), places], ("axis", 2L));
        });

        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(() => new PackingPass().Run(model));

        Assert.Contains("'Gather' at node", e.Message);
        Assert.Contains("position_ids", e.Message);
    }

    [TestMethod]
    public void Run_StaticSequenceAxis_AsksForADynamicOne()
    {
        OnnxGraph graph = new("decoder");
        graph.AddInput("input_ids", DataType.Int64, Shape.Of(1, 16));
        using OnnxModel model = new(graph) { Opset = 21, IrVersion = 10 };

        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(() => new PackingPass().Run(model));

        Assert.Contains("[1, 16]", e.Message);
        Assert.Contains("dynamic sequence axis", e.Message);
    }

    /// <summary>Native operators of a training graph, each with its number.</summary>
    private static string FusedOperators(OnnxModel model, string output, bool packing)
    {
        using TrainingGraph graph = TrainingGraphBuilder.Build(model, new TrainingGraphOptions
        {
            Method = new LoraMethod(),
            Adapter = new LoraConfig { Rank = 4, Alpha = 8, TargetModules = ModuleSelector.AllLinear },
            Loss = LossHeads.Get("causal-lm"),
            LossOutput = output,
            Optimizer = new AdamWOptimizer(),
            NativeOperators = Int8Compute.Fp32,
            Packing = packing,
        });
        return string.Join('\n', graph.Artifacts.TrainingModel.Graph.Nodes.Where(n => n.Domain == OperatorDomains.OrtQLoRA).GroupBy(n => n.OpType).Select(g => $"{g.Key} {g.Count()}").Order());
    }

    // hidden [batch, 4, sequence] of an embedding of 8 tokens, and what is made of it.
    private static OnnxModel Decoder(Func<GraphBuilder, Value> emit)
    {
        OnnxGraph graph = new("decoder");
        Value ids = graph.AddInput("input_ids", DataType.Int64, new Shape(Dimension.Of("batch"), Dimension.Of("sequence")));
        GraphBuilder b = new(graph, 21);
        Value embedded = b.Op("Gather", [graph.AddInitializer("table", DenseTensor.Of([8, 4], new float[32])), ids]);
        b.Transpose(embedded, 0, 2, 1).Name = "hidden";
        graph.AddOutput(emit(b));
        OnnxModel model = new(graph) { Opset = 21, IrVersion = 10 };
        new Graph.Passes.ShapeInferencePass().Run(model);
        return model;
    }
}
