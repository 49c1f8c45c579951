using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class DeadNodeEliminationPassTests : IDisposable
{
    private const long Opset = 18;
    private readonly OnnxGraph _graph = new("g");
    private readonly OnnxModel _model;
    private readonly GraphBuilder _builder;
    private readonly Value _x;

    public DeadNodeEliminationPassTests()
    {
        _model = new(_graph) { Opset = Opset };
        _builder = new GraphBuilder(_graph, Opset);
        _x = _graph.AddInput("x", DataType.Float, Shape.Of(2));
    }

    public void Dispose() => _model.Dispose();

    [TestMethod]
    public void Run_ChainThatNothingReads_Goes()
    {
        Value weight = _graph.AddInitializer("dead_weight", DenseTensor.Vector(1f, 2f));
        _builder.Neg(_builder.Add(_x, weight));
        _graph.AddOutput(_builder.Op("Exp", [_x]));
        Assert.IsTrue(new DeadNodeEliminationPass().Run(_model));
        Assert.AreEqual(
            """
            graph g (x: float[2]) -> (Exp_out: float[2]) {
              Exp_out: float[2] = Exp(x)  # Exp
            }

            """,
            GraphPrinter.Print(_graph));
        Assert.IsFalse(new DeadNodeEliminationPass().Run(_model));
    }

    [TestMethod]
    public void Run_UnusedGraphInputs_StayWithTheirDefaults()
    {
        _graph.MarkAsInput(_graph.AddInitializer("default", DenseTensor.Vector(1f)));
        _graph.AddInput("unused", DataType.Float, Shape.Scalar);
        _graph.AddOutput(_builder.Neg(_x));
        Assert.IsFalse(new DeadNodeEliminationPass().Run(_model));
        Assert.HasCount(3, _graph.Inputs);
        Assert.HasCount(1, _graph.Initializers);
    }

    [TestMethod]
    public void Run_NodeWithOneOutputRead_StaysWhole()
    {
        Node split = _builder.Emit("Split", "", [_x], 2, ("num_outputs", 2));
        _graph.AddOutput(split.Outputs[1]);
        Assert.IsFalse(new DeadNodeEliminationPass().Run(_model));
        Assert.HasCount(2, split.Outputs);
    }

    [TestMethod]
    public void Run_OuterValueReadOnlyInSubgraph_Stays()
    {
        Value outer = _builder.Neg(_x);
        Node choose = Choose(b => b.Op("Exp", [outer]), b => b.Op("Log", [_x]));
        _graph.AddOutput(choose.Outputs[0]);
        Assert.IsFalse(new DeadNodeEliminationPass().Run(_model));
        Assert.AreSame(outer.Producer, _graph.First);
    }

    [TestMethod]
    public void Run_DeadNodeOfSubgraph_GoesWithWhatItAloneCaptured()
    {
        Value outer = _builder.Add(_x, _graph.AddInitializer("captured", DenseTensor.Vector(1f, 2f)));
        Node choose = Choose(
            b =>
            {
                b.Neg(outer);
                return b.Op("Exp", [_x]);
            },
            b => b.Op("Log", [_x]));
        _graph.AddOutput(choose.Outputs[0]);
        Assert.IsTrue(new DeadNodeEliminationPass().Run(_model));
        Assert.AreSame(choose, _graph.First);
        Assert.IsFalse(_graph.TryGetValue("captured", out _));
        Assert.AreEqual(1, choose.Subgraphs.First().NodeCount);
    }

    [TestMethod]
    public void Run_DeadNodeWithSubgraphs_ReleasesCaptures()
    {
        Value outer = _builder.Neg(_x);
        Choose(b => b.Op("Exp", [outer]), b => b.Op("Log", [outer]));
        _graph.AddOutput(_builder.Op("Exp", [_x]));
        Assert.IsTrue(new DeadNodeEliminationPass().Run(_model));
        Assert.AreEqual(1, _graph.NodeCount);
    }

    [TestMethod]
    public void Run_FunctionBody_IsCleaned()
    {
        OnnxGraph body = new("f");
        Value a = body.AddInput("a", null);
        body.AddOutput(body.AddNode("Neg", [a]).AddOutput("b"));
        body.AddNode("Exp", [a]).AddOutput("c");
        _model.Functions.Add(new OnnxFunction("local", "F", "", body));
        _graph.AddOutput(_builder.Neg(_x));
        Assert.IsTrue(new DeadNodeEliminationPass().Run(_model));
        Assert.AreEqual(1, body.NodeCount);
    }

    private Node Choose(Func<GraphBuilder, Value> thenBranch, Func<GraphBuilder, Value> elseBranch)
    {
        Node node = _graph.AddNode("If", [_builder.Scalar(true)]);
        foreach ((string name, Func<GraphBuilder, Value> emit) in new[] { ("then_branch", thenBranch), ("else_branch", elseBranch) })
        {
            OnnxGraph branch = new(name, _graph);
            branch.AddOutput(emit(new GraphBuilder(branch, Opset)));
            node.SetAttribute(name, NodeAttribute.Of(branch));
        }

        node.AddOutput("chosen", new OnnxType.Tensor(DataType.Float, Shape.Of(2)));
        return node;
    }
}
