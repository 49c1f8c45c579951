using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training.OrtTraining;
using static OrtQLoRA.Graph.Tests.Evaluation.NodeRunner;

namespace OrtQLoRA.Graph.Tests.Training.OrtTraining;

[TestClass]
public sealed class OrtTrainingHeaderTests
{
    private static readonly Dictionary<string, ReferenceTensor> Feed = new() { ["x"] = F([2, 3], 0.5, -1.25, 2, 3, -0.75, 1) };

    [TestMethod]
    public void Apply_OperatorsWithAnEarlierForm_ComputesTheSameUnderOpset21()
    {
        using OnnxModel model = Model();
        ReferenceTensor expected = new ReferenceEvaluator(model).Run(Feed)["y"];

        OrtTrainingHeader.Apply(model, "training");

        Assert.AreEqual(21, model.Opset);
        GraphVerifier.Verify(model);
        Assert.IsFalse(model.Graph.Nodes.Any(n => n.OpType is "RMSNormalization" or "Swish"));
        AreEqual(expected, new ReferenceEvaluator(model).Run(Feed)["y"], 1e-6);
    }

    [TestMethod]
    public void Apply_OperatorWithoutAnEarlierForm_IsRefusedByNode()
    {
        using OnnxModel model = Model();
        Node node = new GraphBuilder(model.Graph, model.Opset).Emit("CumProd", "", [model.Graph.Inputs[0]], 1);
        node.Name = "the_product";

        string message = Assert.ThrowsExactly<ConfigurationException>(() => OrtTrainingHeader.Apply(model, "training")).Message;

        StringAssert.Contains(message, "'CumProd' at node 'the_product' came after opset 21");
    }

    private static OnnxModel Model()
    {
        OnnxGraph graph = new("later");
        GraphBuilder b = new(graph, 24);
        Value x = graph.AddInput("x", DataType.Float, Shape.Of(2, 3));
        Value norm = b.Op("RMSNormalization", [x, graph.AddInitializer("scale", DenseTensor.Vector(1f, 2f, -1f))], ("axis", -1L), ("epsilon", 0.01f));
        Value y = b.Op("Swish", [norm], ("alpha", 1.5f));
        y.Name = "y";
        graph.AddOutput(y);
        return new OnnxModel(graph) { Opset = 24 };
    }
}
