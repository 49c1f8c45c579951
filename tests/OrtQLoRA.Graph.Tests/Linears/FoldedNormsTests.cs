using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Tests.Linears;

[TestClass]
public sealed class FoldedNormsTests
{
    [TestMethod]
    [DataRow("onnx::Mul_7", true, null, null, 1f, DisplayName = "computed value, scaled embedding")]
    [DataRow("onnx::Mul_7", false, null, null, 0f, DisplayName = "computed value, nothing that speaks for Gemma")]
    [DataRow("onnx::Mul_7", false, "qwen3_next", null, 1f, DisplayName = "computed value, architecture")]
    [DataRow("onnx::Mul_7", false, "gemma3n_text", null, 0f, DisplayName = "computed value, architecture without the sum")]
    [DataRow("val_7", false, null, "Gemma2RMSNorm", 1f, DisplayName = "computed value, class")]
    [DataRow("val_7", false, null, "LlamaRMSNorm", 0f, DisplayName = "computed value, other class")]
    [DataRow("add_132", false, null, null, 1f, DisplayName = "folded sum by its name")]
    [DataRow("model.norm.weight", true, "gemma", null, 0f, DisplayName = "the parameter itself")]
    public void Find_WeightOfANorm_TellsTheFoldedOne(string name, bool isScaled, string? modelType, string? normClass, float expected)
    {
        using OnnxModel model = SmallGemma.Build(name, isScaled ? "/model/embed_tokens" : null, normClass);
        model.ModelType = modelType;

        ModelParameter norm = LinearFinder.Find(model).Parameters.Single(p => p.Value.Name == name);

        Assert.AreEqual(("model.norm.weight", expected), (norm.Name, norm.Offset));
    }

    [TestMethod]
    [DataRow(true, 1f)]
    [DataRow(false, 0f)]
    public void Find_NormOfTheGenAiBuilder_IsFoldedUnderTheParametersName(bool isScaled, float expected)
    {
        using OnnxModel model = SmallGemma.Build("model.layers.2.final_norm_layernorm.weight", isScaled ? "/model/embed_tokens" : null, headName: "lm_head.MatMul.weight");

        ModelParameter norm = LinearFinder.Find(model).Parameters.Single(p => p.Value.Name == "model.layers.2.final_norm_layernorm.weight");

        Assert.AreEqual(("model.norm.weight", expected), (norm.Name, norm.Offset));
    }

    [TestMethod]
    public void Find_ScaleOfLayerNormalizationThatWasComputed_IsNamedByItsModule()
    {
        OnnxGraph graph = new("nemotron");
        Value x = graph.AddInput("x", DataType.Float, Shape.Of([2, 4]));
        Value scale = graph.AddInitializer("add_105", SmallGemma.NormWeights);
        Value bias = graph.AddInitializer("model.norm.bias", SmallGemma.NormWeights);
        Node norm = graph.AddNode("LayerNormalization", [x, scale, bias], "/model/norm/LayerNormalization");
        graph.AddOutput(norm.AddOutput("y", x.Type));
        using OnnxModel model = new(graph) { Opset = 17, IrVersion = 8 };

        IReadOnlyList<ModelParameter> parameters = LinearFinder.Find(model).Parameters;

        CollectionAssert.AreEquivalent(new[] { ("model.norm.weight", 1f), ("model.norm.bias", 0f) }, parameters.Select(p => (p.Name, p.Offset)).ToArray());
    }
}
