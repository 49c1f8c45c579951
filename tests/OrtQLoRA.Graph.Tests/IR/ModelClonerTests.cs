using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.IR;

[TestClass]
public sealed class ModelClonerTests
{
    [TestMethod]
    public void Clone_Model_SharesContentsButNoStructure()
    {
        OnnxModel model = GraphPrinterTests.SmallModel();
        model.Graph.GetValue("h").Metadata["k"] = "v";
        OnnxModel clone = ModelCloner.Clone(model);
        Assert.AreEqual(GraphPrinter.Print(model), GraphPrinter.Print(clone));
        Assert.AreSame(model.Graph.GetValue("w").Initializer, clone.Graph.GetValue("w").Initializer);
        Assert.AreEqual("v", clone.Graph.GetValue("h").Metadata["k"]);
        HashSet<Node> nodes = [.. model.Graph.AllNodes(), .. model.Functions[0].Body.AllNodes()];
        Assert.IsFalse(clone.Graph.AllNodes().Concat(clone.Functions[0].Body.AllNodes()).Any(nodes.Contains));
    }

    [TestMethod]
    public void Clone_Subgraphs_ReadTheCloneOfTheOuterValue()
    {
        OnnxModel model = GraphPrinterTests.SmallModel();
        OnnxModel clone = ModelCloner.Clone(model);
        Value h = clone.Graph.GetValue("h");
        Assert.HasCount(3, h.Uses);
        Assert.AreSame(h, clone.Graph.Last!.Subgraphs.First().First!.Inputs[0]);
        Assert.AreSame(clone.Graph, clone.Graph.Last.Subgraphs.First().Parent);
    }

    [TestMethod]
    public void Clone_ThenEdit_LeavesTheOriginal()
    {
        OnnxModel model = GraphPrinterTests.SmallModel();
        string before = GraphPrinter.Print(model);
        OnnxModel clone = ModelCloner.Clone(model);
        clone.Graph.GetValue("h").Name = "renamed";
        clone.Graph.First!.SetAttribute("a", 1L);
        clone.Metadata["author"] = "you";
        clone.Opset = 22;
        clone.Graph.SetInitializer(clone.Graph.GetValue("w"), DenseTensor.Scalar(1f));
        Assert.AreEqual(before, GraphPrinter.Print(model));
    }

    [TestMethod]
    public void Clone_NodeBeforeItsProducer_SaysSo()
    {
        OnnxGraph graph = new("g");
        Value x = graph.AddInput("x", DataType.Float, Shape.Scalar);
        Node first = graph.AddNode("Neg", [x], "first");
        Node second = graph.AddNode("Abs", [first.AddOutput("a")], "second");
        second.AddOutput("b");
        graph.Move(second, first);
        StringAssert.Contains(Assert.ThrowsExactly<GraphException>(() => ModelCloner.Clone(new OnnxModel(graph))).Message, "'a' is read before it is made");
    }
}
