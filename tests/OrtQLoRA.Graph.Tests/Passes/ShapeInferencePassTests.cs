using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class ShapeInferencePassTests
{
    private readonly OnnxModel _model = GraphText.Model();

    private OnnxGraph Graph => _model.Graph;

    [TestMethod]
    public void Run_WrongValueInfo_GivesWayToInference()
    {
        Graph.Input("x", DataType.Float, Dimension.Of("batch"), 3);
        Graph.Line("y = Relu(x)").Outputs[0].Type = new OnnxType.Tensor(DataType.Float16, Shape.Of(7, 7, 7));
        Graph.Line("z = Transpose(y)").Outputs[0].Type = new OnnxType.Tensor(DataType.Float, Shape.Of(3, 2));
        Graph.Outputs("z");
        Assert.IsTrue(new ShapeInferencePass().Run(_model));
        Assert.AreEqual("y: float[batch, 3]", Graph.GetValue("y").ToString());
        Assert.AreEqual("z: float[3, batch]", Graph.GetValue("z").ToString());
        Assert.IsFalse(new ShapeInferencePass().Run(_model));
    }

    [TestMethod]
    public void Run_UnknownOperator_KeepsWhatTheFileSays()
    {
        Graph.Input("x", DataType.Float, Dimension.Of("batch"), 3);
        Graph.Line("y = custom::Mystery(x)").Outputs[0].Type = new OnnxType.Tensor(DataType.Float, new Shape(Dimension.Of("batch"), 8));
        Graph.Line("z = Relu(y)");
        Graph.Line("u = custom::Mystery(z)");
        Graph.Line("v = Relu(u)");
        new ShapeInferencePass().Run(_model);
        Assert.AreEqual("z: float[batch, 8]", Graph.GetValue("z").ToString());
        Assert.IsNull(Graph.GetValue("v").Type);
    }

    [TestMethod]
    public void Run_InputSymbols_BecomeCanonical()
    {
        Graph.Input("ids", DataType.Int64, Dimension.Of("batch-size"), Dimension.Of("sequence"));
        Graph.Input("past", DataType.Float, Dimension.Of("batch-size"), Dimension.Of("past"));
        Graph.Input("mask", DataType.Int64, Dimension.Of("batch-size"), Dimension.Of("sequence + past"));
        Graph.Input("other", DataType.Int64, Dimension.Of("a + b"), Dimension.Unknown, Dimension.Of("?"));
        Graph.Line("y = Concat(mask, ids)", ("axis", 1L));
        new ShapeInferencePass().Run(_model);
        Assert.AreEqual("mask: int64[{batch-size}, past + sequence]", Graph.GetValue("mask").ToString());
        Assert.AreEqual("other: int64[{a + b}, other#1, other#2]", Graph.GetValue("other").ToString());
        Assert.AreEqual("y: int64[{batch-size}, past + 2*sequence]", Graph.GetValue("y").ToString());
        Assert.IsFalse(new ShapeInferencePass().Run(_model));
    }

    [TestMethod]
    public void Run_MaskWithItsOwnBatch_LeavesTheRestOfTheGraphAsItIs()
    {
        // The mask may have batch 1, so the sum is neither batch nor mask_batch; the product with v settles it.
        Graph.Input("scores", DataType.Float, Dimension.Of("batch"), 4, Dimension.Of("n"), Dimension.Of("n"));
        Graph.Input("mask", DataType.Float, Dimension.Of("mask_batch"), 1, Dimension.Of("n"), Dimension.Of("n"));
        Graph.Input("v", DataType.Float, Dimension.Of("batch"), 4, Dimension.Of("n"), 8);
        Graph.Line("masked = Add(scores, mask)");
        Graph.Line("context = MatMul(masked, v)");
        new ShapeInferencePass().Run(_model);
        Assert.AreEqual("context: float[broadcast(batch, mask_batch), 4, n, 8]", Graph.GetValue("context").ToString());
    }

    [TestMethod]
    public void Run_EqualityDemandedLater_SettlesEarlierDimensions()
    {
        Graph.Input("x", DataType.Float, Dimension.Of("batch"), Dimension.Of("n"), 6);
        Graph.Input("m", DataType.Int64, 1);
        Graph.AddInitializer("w", DenseTensor.Of([12, 5], new float[60]));
        Graph.AddInitializer("zero", DenseTensor.Vector(0L));
        Graph.Line("s = Shape(x)", ("end", 1L));
        Graph.Line("target = Concat(s, m, zero)", ("axis", 0L));
        Graph.AddInitializer("minus", DenseTensor.Vector(-1L));
        Graph.Line("target2 = Concat(s, m, minus)", ("axis", 0L));
        Graph.Line("y = Reshape(x, target2)");
        Graph.Line("z = MatMul(y, w)");
        new ShapeInferencePass().Run(_model);
        Assert.AreEqual("y: float[batch, y#1, 12]", Graph.GetValue("y").ToString());
        Assert.AreEqual("z: float[batch, y#1, 5]", Graph.GetValue("z").ToString());
    }

    [TestMethod]
    public void Run_Branches_GiveWhatTheyAgreeOn()
    {
        Graph.Input("x", DataType.Float, Dimension.Of("batch"), 3);
        Graph.Input("c", DataType.Bool);
        Node node = Graph.Line("y = If(c)");
        OnnxGraph then = new("then", Graph);
        then.Line("a = Relu(x)");
        then.Outputs("a");
        OnnxGraph otherwise = new("else", Graph);
        otherwise.Line("b = Concat(x, x)", ("axis", 1L));
        otherwise.Outputs("b");
        node.SetAttribute("then_branch", NodeAttribute.Of(then));
        node.SetAttribute("else_branch", NodeAttribute.Of(otherwise));
        new ShapeInferencePass().Run(_model);
        Assert.AreEqual("y: float[batch, y#1]", Graph.GetValue("y").ToString());
        Assert.AreEqual("b: float[batch, 6]", otherwise.GetValue("b").ToString());
    }

    [TestMethod]
    public void Run_BranchThatCannotRun_LeavesTheOtherToDecide()
    {
        // TorchScript's squeeze(1) of a tensor that turns out to have size 3 there.
        Graph.Input("x", DataType.Float, Dimension.Of("batch"), 3);
        Graph.Input("c", DataType.Bool);
        Graph.AddInitializer("axis", DenseTensor.Vector(1L));
        Node node = Graph.Line("y = If(c)");
        OnnxGraph then = new("then", Graph);
        then.Line("a = Squeeze(x, axis)");
        then.Outputs("a");
        OnnxGraph otherwise = new("else", Graph);
        otherwise.Line("b = Identity(x)");
        otherwise.Outputs("b");
        node.SetAttribute("then_branch", NodeAttribute.Of(then));
        node.SetAttribute("else_branch", NodeAttribute.Of(otherwise));
        new ShapeInferencePass().Run(_model);
        Assert.AreEqual("y: float[batch, 3]", Graph.GetValue("y").ToString());
        otherwise.Line("d = MatMul(x, x)");
        otherwise.Line("e = Squeeze(b, axis)");
        Assert.ThrowsExactly<GraphException>(() => new ShapeInferencePass().Run(_model), "no branch can run");
    }

    [TestMethod]
    public void Run_Loop_KnowsTypesAndStackedResults()
    {
        Graph.Input("start", DataType.Float, Dimension.Of("batch"), 3);
        Graph.Input("trips", DataType.Int64);
        Node node = Graph.Line("last, all = Loop(trips, _, start)");
        OnnxGraph body = new("body", Graph);
        body.AddInput("turn", type: null);
        body.AddInput("go", type: null);
        body.AddInput("state", type: null);
        body.Line("still = Identity(go)");
        body.Line("next = Relu(state)");
        body.Line("row = ReduceSum(start)", ("keepdims", 0L));
        body.Outputs("still", "next", "row");
        node.SetAttribute("body", NodeAttribute.Of(body));
        new ShapeInferencePass().Run(_model);
        Assert.AreEqual("next: float[...]", body.GetValue("next").ToString());
        Assert.AreEqual("still: bool[...]", body.GetValue("still").ToString());
        Assert.AreEqual("last: float[...]", Graph.GetValue("last").ToString());
        Assert.AreEqual("all: float[all#0]", Graph.GetValue("all").ToString());
    }

    [TestMethod]
    public void Run_TypeError_NamesNodeAndValues()
    {
        Graph.Input("x", DataType.Float, Dimension.Of("batch"), 3);
        Graph.AddInitializer("w", DenseTensor.Of([4, 2], new float[8]));
        Graph.Line("y = MatMul(x, w)");
        GraphException error = Assert.ThrowsExactly<GraphException>(() => new ShapeInferencePass().Run(_model));
        Assert.AreEqual(
            "'MatMul' at node 'MatMul' cannot run: the inner dimensions of the product must be equal, but are 3 and 4 ('x' is float[batch, 3], 'w' is float[4, 2]).",
            error.Message);
    }

    [TestMethod]
    public void Run_ManyNodes_IsLinear()
    {
        // A chain of computed shapes, each made from the one before: content is remembered, not recomputed.
        Graph.Input("x0", DataType.Float, Dimension.Of("batch"), 4);
        Graph.AddInitializer("tail", DenseTensor.Vector(2L, 2L));
        Graph.AddInitializer("flat", DenseTensor.Vector(0L, -1L));
        Graph.AddInitializer("starts", DenseTensor.Vector(0L));
        Graph.AddInitializer("ends", DenseTensor.Vector(1L));
        for (int i = 0; i < 4000; i++)
        {
            Graph.Line($"s{i} = Shape(x{i})");
            Graph.Line($"b{i} = Slice(s{i}, starts, ends)");
            Graph.Line($"t{i} = Concat(b{i}, tail)", ("axis", 0L));
            Graph.Line($"r{i} = Reshape(x{i}, t{i})");
            Graph.Line($"x{i + 1} = Reshape(r{i}, flat)");
        }

        new ShapeInferencePass().Run(_model);
        Assert.AreEqual("x4000: float[batch, 4]", Graph.GetValue("x4000").ToString());
    }
}
