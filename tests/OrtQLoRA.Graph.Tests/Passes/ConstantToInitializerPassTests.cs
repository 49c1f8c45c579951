using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class ConstantToInitializerPassTests
{
    private readonly OnnxModel _model = GraphText.Model();

    [TestMethod]
    public void Run_EveryValueAttribute_BecomesAnInitializerOfTheSameName()
    {
        OnnxGraph graph = _model.Graph;
        graph.Line("a = Constant()", ("value", DenseTensor.Of<sbyte>([2, 1], [1, 2])));
        graph.Line("b = Constant()", ("value_float", 0.5f));
        graph.Line("c = Constant()", ("value_floats", new[] { 0.5f, 1.5f }));
        graph.Line("d = Constant()", ("value_int", 7L));
        graph.Line("e = Constant()", ("value_ints", new[] { 7L, 8L }));
        graph.Line("f = Constant()", ("value_string", "text"));
        graph.Line("g = custom::Use(a, b, c, d, e, f)");
        graph.Outputs("g");
        Assert.IsTrue(new ConstantToInitializerPass().Run(_model));
        Assert.AreEqual("g = custom.Use(a, b, c, d, e, f)", graph.Lines());
        Assert.AreEqual(
            "a: int8[2, 1], b: float[], c: float[2], d: int64[], e: int64[2], f: string[]",
            string.Join(", ", graph.Initializers.Select(i => i.ToString())));
        CollectionAssert.AreEqual(new[] { 7L, 8L }, graph.GetValue("e").Initializer!.ToArray<long>());
        Assert.IsFalse(new ConstantToInitializerPass().Run(_model));
    }

    [TestMethod]
    public void Run_ConstantThatIsAnOutput_Stays()
    {
        _model.Graph.Line("a = Constant()", ("value_int", 7L));
        _model.Graph.Outputs("a");
        Assert.IsFalse(new ConstantToInitializerPass().Run(_model));
        Assert.AreEqual("a = Constant()", _model.Graph.Lines());
    }

    [TestMethod]
    public void Run_ConstantInABranch_BecomesTheBranchsInitializer()
    {
        OnnxGraph graph = _model.Graph;
        graph.Input("condition", DataType.Bool);
        Node node = graph.Line("y = If(condition)");
        foreach (string branch in new[] { "then_branch", "else_branch" })
        {
            OnnxGraph body = new(branch, graph);
            body.Line("one = Constant()", ("value_float", 1f));
            body.Line("made = Neg(one)");
            body.Outputs("made");
            node.SetAttribute(branch, NodeAttribute.Of(body));
        }

        Assert.IsTrue(new ConstantToInitializerPass().Run(_model));
        foreach (OnnxGraph body in node.Subgraphs)
        {
            Assert.AreEqual("made = Neg(one)", body.Lines());
            Assert.IsTrue(body.GetValue("one").IsConstant);
        }
    }

    [TestMethod]
    public void Run_NoValue_IsRefusedByName()
    {
        _model.Graph.Line("a = Constant()");
        Assert.Contains("has no value", Assert.ThrowsExactly<GraphException>(() => new ConstantToInitializerPass().Run(_model)).Message);
    }
}
