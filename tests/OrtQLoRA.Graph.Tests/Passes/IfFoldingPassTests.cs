using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class IfFoldingPassTests
{
    private readonly OnnxModel _model = GraphText.Model();

    public IfFoldingPassTests()
    {
        Graph.Input("x", DataType.Float, 2);
        Graph.Input("computed", DataType.Bool);
        Graph.AddInitializer("yes", DenseTensor.Scalar(true));
        Graph.AddInitializer("no", DenseTensor.Vector(false));
    }

    private OnnxGraph Graph => _model.Graph;

    [TestMethod]
    public void Run_ConstantCondition_TakesTheBranch()
    {
        AddIf(Graph, "y", "no");
        Graph.Line("z = Exp(y)");
        Graph.Outputs("y", "z");
        Assert.IsTrue(new IfFoldingPass().Run(_model));
        Assert.AreEqual("h = Mul(x, w)\ny = Neg(h)\nz = Exp(y)", Graph.Lines());
        Assert.AreEqual(3f, Graph.GetValue("w").Initializer!.ToFloats()[0]);
        Assert.IsTrue(Graph.GetValue("y").IsGraphOutput);
        Assert.IsFalse(new IfFoldingPass().Run(_model));
    }

    [TestMethod]
    public void Run_NameTakenOutside_IsChanged()
    {
        Graph.Line("h = Abs(x)");
        AddIf(Graph, "y", "yes");
        Graph.Line("z = Add(y, h)");
        Graph.Outputs("z");
        Assert.IsTrue(new IfFoldingPass().Run(_model));
        Assert.AreEqual("h = Abs(x)\nh_1 = Add(x, w)\ny = Neg(h_1)\nz = Add(y, h)", Graph.Lines());
        GraphVerifier.Verify(_model);
    }

    [TestMethod]
    public void Run_IfInsideABranch_IsFoldedToo()
    {
        Node outer = Graph.Line("y = If(yes)");
        foreach (string branch in new[] { "then_branch", "else_branch" })
        {
            OnnxGraph body = new(branch, Graph);
            AddIf(body, "inner", "no");
            body.Outputs("inner");
            outer.SetAttribute(branch, NodeAttribute.Of(body));
        }

        Graph.Outputs("y");
        Assert.IsTrue(new IfFoldingPass().Run(_model));
        Assert.AreEqual("Mul Neg", string.Join(" ", Graph.Nodes.Select(n => n.OpType)));
        Assert.AreEqual("y", Graph.Outputs.Single().Name);
        GraphVerifier.Verify(_model);
    }

    [TestMethod]
    public void Run_BranchHandsOutAnOuterValue_GoesThroughIdentity()
    {
        Node node = Graph.Line("y, z = If(yes)");
        foreach (string branch in new[] { "then_branch", "else_branch" })
        {
            OnnxGraph body = new(branch, Graph);
            body.AddOutput(Graph.GetValue("x"));
            body.AddOutput(Graph.GetValue("x"));
            node.SetAttribute(branch, NodeAttribute.Of(body));
        }

        Graph.Outputs("y", "z");
        Assert.IsTrue(new IfFoldingPass().Run(_model));
        Assert.AreEqual("y = Identity(x)\nz = Identity(x)", Graph.Lines());
    }

    [TestMethod]
    public void Run_ComputedCondition_Stays()
    {
        AddIf(Graph, "y", "computed");
        Graph.Outputs("y");
        Assert.IsFalse(new IfFoldingPass().Run(_model));
        Assert.AreEqual(1, Graph.NodeCount);
    }

    [TestMethod]
    public void Run_BranchMissing_IsRefusedByName()
    {
        Graph.Line("y = If(yes)");
        Assert.Contains("'then_branch'", Assert.ThrowsExactly<GraphException>(() => new IfFoldingPass().Run(_model)).Message);
    }

    // then: -(x + w) with w = 2; else: -(x * w) with w = 3. Names repeat in the branches, as files may have it.
    private static void AddIf(OnnxGraph graph, string output, string condition)
    {
        Node node = graph.Line($"{output} = If({condition})");
        foreach ((string branch, string operation, float weight) in new[] { ("then_branch", "Add", 2f), ("else_branch", "Mul", 3f) })
        {
            OnnxGraph body = new(branch, graph);
            body.AddInitializer("w", DenseTensor.Scalar(weight));
            body.Line($"h = {operation}(x, w)");
            body.Line("made = Neg(h)");
            body.Outputs("made");
            node.SetAttribute(branch, NodeAttribute.Of(body));
        }
    }
}
