using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class ConstantReshapePassTests
{
    private readonly OnnxModel _model = GraphText.Model();

    private OnnxGraph Graph => _model.Graph;

    [TestMethod]
    public void Run_ComputedTarget_CopiesDimensionsAndWritesTheRest()
    {
        Graph.Input("x", DataType.Float, Dimension.Of("batch"), Dimension.Of("sequence"), 12);
        Heads("x", 3, 4);
        Graph.Outputs("heads");

        Assert.IsTrue(Run());

        CollectionAssert.AreEqual(new long[] { 0, 0, 3, 4 }, Target("heads"));
        Assert.HasCount(1, Graph.Nodes, "The shape's nodes have no reader left.");
        Assert.IsFalse(Run(), "A second run finds nothing to do.");
    }

    [TestMethod]
    public void Run_ReshapeOfReshape_ReadsTheFirstOperand()
    {
        Graph.Input("x", DataType.Float, Dimension.Of("batch"), Dimension.Of("sequence"), 12);
        Graph.AddInitializer("flat", DenseTensor.Vector([-1L, 12L]));
        Graph.Line("rows = Reshape(x, flat)");
        Heads("x", 3, 4, data: "rows");
        Graph.Outputs("heads");

        Assert.IsTrue(Run());

        Assert.AreEqual("x", Graph.GetValue("heads").Producer!.Inputs[0]!.Name);
        CollectionAssert.AreEqual(new long[] { 0, 0, 3, 4 }, Target("heads"));
    }

    [TestMethod]
    public void Run_TwoNewDimensions_KeepsTheComputedTarget()
    {
        // Neither the rows nor the columns are dimensions of x at their place: constants cannot tell them apart.
        Graph.Input("x", DataType.Float, Dimension.Of("n"));
        Graph.Input("like", DataType.Float, Dimension.Of("rows"), Dimension.Of("columns"));
        Graph.Line("shape = Shape(like)");
        Graph.Line("y = Reshape(x, shape)");
        Graph.Outputs("y");

        Assert.IsFalse(Run());

        Assert.AreEqual("Shape", Graph.GetValue("y").Producer!.Inputs[1]!.Producer!.OpType);
    }

    [TestMethod]
    public void Run_AllowZero_IsDroppedWithTheTargetThatNeededIt()
    {
        Graph.Input("x", DataType.Float, Dimension.Of("batch"), 6);
        Graph.Line("shape = Shape(x)");
        Graph.Line("y = Reshape(x, shape)", ("allowzero", 1L));
        Graph.Outputs("y");

        Assert.IsTrue(Run());

        CollectionAssert.AreEqual(new long[] { 0, 6 }, Target("y"));
        Assert.AreEqual(0, Graph.GetValue("y").Producer!.GetInt("allowzero", 0));
    }

    private bool Run()
    {
        new ShapeInferencePass().Run(_model);
        bool changed = new ConstantReshapePass().Run(_model);
        new DeadNodeEliminationPass().Run(_model);
        return changed;
    }

    /// <summary>heads = data as [batch, sequence, count, size], the way exporters write it.</summary>
    private void Heads(string x, long count, long size, string? data = null)
    {
        Graph.AddInitializer("head_dims", DenseTensor.Vector([count, size]));
        Graph.Line($"leading = Shape({x})", ("start", 0L), ("end", 2L));
        Graph.Line("target = Concat(leading, head_dims)", ("axis", 0L));
        Graph.Line($"heads = Reshape({data ?? x}, target)");
    }

    private long[] Target(string name) => Graph.GetValue(name).Producer!.Inputs[1]!.Initializer!.ToInt64s();
}
