using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;
using OrtQLoRA.TestKit.Gradients;

namespace OrtQLoRA.Graph.Tests.Gradients;

/// <summary>What the rows of <see cref="GradientCheckTable"/> do not show of recurrent layers.</summary>
[TestClass]
public sealed class RecurrentGradientTests
{
    [TestMethod]
    public void Build_StatesThatTheModelLeavesOut_AreAskedFor()
    {
        OnnxModel model = Model("_, last");
        new ShapeInferencePass().Run(model);

        GradientChecker.Check(model, Feeds(), ["x", "w", "r", "b"], 7);
    }

    [TestMethod]
    [DataRow("layout", 1L, "layout")]
    [DataRow("input_forget", 1L, "coupled gates")]
    public void Build_OptionWithoutAGradient_IsNamed(string attribute, long value, string named)
    {
        OnnxModel model = Model("y, last", (attribute, value));

        UnsupportedOpException error = Assert.ThrowsExactly<UnsupportedOpException>(() => GradientChecker.Check(model, Feeds(), ["x"], 7));

        StringAssert.Contains(error.Message, named);
    }

    private static OnnxModel Model(string outputs, params (string Name, NodeAttribute Value)[] attributes)
    {
        OnnxModel model = GraphText.Model();
        OnnxGraph graph = model.Graph;
        graph.Input("x", DataType.Double, Dimension.Of("sequence"), Dimension.Of("batch"), 4);
        graph.Input("w", DataType.Double, 1, 12, 4);
        graph.Input("r", DataType.Double, 1, 12, 3);
        graph.Input("b", DataType.Double, 1, 24);
        graph.Line($"{outputs} = LSTM(x, w, r, b)", [("hidden_size", 3L), .. attributes]);
        graph.Outputs("last");
        graph.GetValue("last").Type = new OnnxType.Tensor(DataType.Double, null);
        return model;
    }

    private static Dictionary<string, ReferenceTensor> Feeds()
    {
        Random random = new(3);
        ReferenceTensor Draw(params long[] dims) => ReferenceTensor.OfDoubles(dims, [.. Enumerable.Range(0, (int)dims.Aggregate(1L, (n, d) => n * d)).Select(_ => random.NextDouble() - 0.5)]);
        return new() { ["x"] = Draw(5, 2, 4), ["w"] = Draw(1, 12, 4), ["r"] = Draw(1, 12, 3), ["b"] = Draw(1, 24) };
    }
}
