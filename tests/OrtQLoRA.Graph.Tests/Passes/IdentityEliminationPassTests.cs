using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class IdentityEliminationPassTests
{
    private readonly OnnxModel _model = GraphText.Model();

    public IdentityEliminationPassTests()
    {
        Graph.Input("x", DataType.Float, Dimension.Of("batch"), 3);
        Graph.AddInitializer("off", DenseTensor.Scalar(false));
        Graph.AddInitializer("on", DenseTensor.Scalar(true));
        Graph.AddInitializer("ratio", DenseTensor.Scalar(0.1f));
        Graph.AddInitializer("like", DenseTensor.Vector(1f));
        Graph.AddInitializer("same", DenseTensor.Vector(0L, 3L));
        Graph.AddInitializer("swapped", DenseTensor.Vector(3L, -1L));
        Graph.AddInitializer("ones", DenseTensor.Vector(1L, 1L));
        Graph.AddInitializer("threes", DenseTensor.Vector(1L, 3L));
        Graph.AddInitializer("zero", DenseTensor.Vector(0L));
        Graph.AddInitializer("end", DenseTensor.Vector(long.MaxValue));
        Graph.AddInitializer("start", DenseTensor.Vector(-1L));
        Graph.AddInitializer("low", DenseTensor.Vector(long.MinValue));
        Graph.AddInitializer("one", DenseTensor.Vector(1L));
        Graph.AddInitializer("minus", DenseTensor.Vector(-1L));
    }

    private OnnxGraph Graph => _model.Graph;

    [TestMethod]
    [DataRow("y = Identity(a)")]
    [DataRow("y = Cast(a)", "to", 1L)]
    [DataRow("y = CastLike(a, like)")]
    [DataRow("y = Concat(a)", "axis", 0L)]
    [DataRow("y = Sum(a)")]
    [DataRow("y = Dropout(a, ratio)")]
    [DataRow("y = Dropout(a, ratio, off)")]
    [DataRow("y, mask = Dropout(a, ratio, off)")]
    [DataRow("y = Reshape(a, same)")]
    [DataRow("y = Flatten(a)")]
    [DataRow("y = Expand(a, ones)")]
    [DataRow("y = Expand(a, threes)")]
    [DataRow("y = Slice(a, zero, end, one)")]
    [DataRow("y = Slice(a, zero, end, one, one)")]
    public void Run_NodeThatDoesNothing_IsRemoved(string line, string? attribute = null, long value = 0)
    {
        Build(line, attribute, value);
        Assert.IsTrue(new IdentityEliminationPass().Run(_model));
        Assert.AreEqual("a = Relu(x)\nz = Neg(a)", Graph.Lines());
        Assert.IsFalse(new IdentityEliminationPass().Run(_model));
    }

    [TestMethod]
    [DataRow("y = Cast(a)", "to", 10L)]
    [DataRow("y = Concat(a, a)", "axis", 0L)]
    [DataRow("y = Dropout(a, ratio, on)")]
    [DataRow("y = Reshape(a, swapped)")]
    [DataRow("y = Transpose(a)")]
    [DataRow("y = Slice(a, one, end, one)")]
    [DataRow("y = Slice(a, start, low, one, minus)")]
    public void Run_NodeThatDoesSomething_Stays(string line, string? attribute = null, long value = 0)
    {
        Build(line, attribute, value);
        Assert.IsFalse(new IdentityEliminationPass().Run(_model));
    }

    [TestMethod]
    public void Run_TransposeInOrder_IsRemoved()
    {
        Graph.Line("a = Relu(x)");
        Graph.Line("y = Transpose(a)", ("perm", new[] { 0L, 1L }));
        Graph.Line("z = Neg(y)");
        Graph.Outputs("z");
        Assert.IsTrue(new IdentityEliminationPass().Run(_model));
        Assert.AreEqual("a = Relu(x)\nz = Neg(a)", Graph.Lines());
    }

    [TestMethod]
    public void Run_DropoutWhoseMaskIsRead_Stays()
    {
        Graph.Line("y, mask = Dropout(x)");
        Graph.Line("z = Not(mask)");
        Graph.Outputs("y", "z");
        Assert.IsFalse(new IdentityEliminationPass().Run(_model));
    }

    [TestMethod]
    public void Run_GraphOutput_KeepsItsName()
    {
        Graph.Line("a = Relu(x)");
        Graph.Line("b = Neg(a)");
        Graph.Line("y = Identity(a)");
        Graph.Outputs("y", "b");
        Assert.IsTrue(new IdentityEliminationPass().Run(_model));
        Assert.AreEqual("y = Relu(x)\nb = Neg(y)", Graph.Lines());
        CollectionAssert.AreEqual(new[] { "y", "b" }, Graph.Outputs.Select(o => o.Name).ToArray());
    }

    [TestMethod]
    [DataRow("y = Identity(x)", DisplayName = "a graph input")]
    [DataRow("y = Identity(like)", DisplayName = "an initializer")]
    [DataRow("y = Identity(a)", DisplayName = "another output")]
    public void Run_OutputThatCannotBeRenamed_Stays(string line)
    {
        Graph.Line("a = Relu(x)");
        Graph.Line(line);
        Graph.Outputs("a", "y");
        Assert.IsFalse(new IdentityEliminationPass().Run(_model));
    }

    [TestMethod]
    public void Run_BranchThatHandsOutAnOuterValue_KeepsItsIdentity()
    {
        Graph.Line("a = Relu(x)");
        Node node = Graph.Line("y = If(on)");
        foreach (string branch in new[] { "then_branch", "else_branch" })
        {
            OnnxGraph body = new(branch, Graph);
            body.Line("inner = Identity(a)");
            body.Line("out = Identity(inner)");
            body.Outputs("out");
            node.SetAttribute(branch, NodeAttribute.Of(body));
        }

        Graph.Outputs("y");
        Assert.IsTrue(new IdentityEliminationPass().Run(_model));
        foreach (OnnxGraph body in node.Subgraphs)
        {
            Assert.AreEqual("out = Identity(a)", body.Lines());
        }
    }

    private void Build(string line, string? attribute, long value)
    {
        Graph.Line("a = Relu(x)");
        Node node = Graph.Line(line);
        if (attribute is not null)
        {
            node.SetAttribute(attribute, value);
        }

        Graph.Line("z = Neg(y)");
        Graph.Outputs("z");
        new ShapeInferencePass().Run(_model);
    }
}
