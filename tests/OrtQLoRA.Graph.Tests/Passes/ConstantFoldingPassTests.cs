using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class ConstantFoldingPassTests : IDisposable
{
    private const long Opset = 18;
    private readonly OnnxGraph _graph = new("g");
    private readonly OnnxModel _model;
    private readonly GraphBuilder _builder;
    private readonly Value _x;

    public ConstantFoldingPassTests()
    {
        _model = new(_graph) { Opset = Opset };
        _builder = new GraphBuilder(_graph, Opset);
        _x = _graph.AddInput("x", DataType.Float, new Shape(Dimension.Of("batch"), 3, 4));
    }

    public void Dispose() => _model.Dispose();

    [TestMethod]
    public void Run_ChainOfConstants_BecomesOneInitializerOfTheSameName()
    {
        Value a = _graph.AddInitializer("a", DenseTensor.Vector(1f, 2f));
        Value sum = _builder.Add(a, _graph.AddInitializer("b", DenseTensor.Vector(10f)));
        sum.Name = "sum";
        _graph.AddOutput(_builder.Op("Exp", [_builder.Neg(sum)]));
        _graph.GetValue("Neg_out").Name = "negated";
        Assert.IsTrue(new ConstantFoldingPass().Run(_model));
        new DeadNodeEliminationPass().Run(_model);
        Assert.AreEqual(
            """
            graph g (x: float[batch, 3, 4]) -> (Exp_out: float[2]) {
              initializer negated: float[2] {-11, -12}
              Exp_out: float[2] = Exp(negated)  # Exp
            }

            """,
            GraphPrinter.Print(_graph));
        Assert.IsFalse(new ConstantFoldingPass().Run(_model));
    }

    [TestMethod]
    public void Run_ConstantNode_BecomesInitializerSharingTheTensor()
    {
        DenseTensor content = DenseTensor.Vector(1f, 2f, 3f, 4f);
        Node constant = _builder.Emit("Constant", "", [], 1, ("value", content));
        _graph.AddOutput(_builder.Add(_x, constant.Outputs[0]));
        new ConstantFoldingPass().Run(_model);
        Assert.AreSame(content, _graph.Initializers.Single().Initializer);
        Assert.AreEqual(1, _graph.NodeCount);
    }

    [TestMethod]
    public void Run_NodeWithSeveralOutputs_FoldsAllThatAreRead()
    {
        Node split = _builder.Emit("Split", "", [_builder.Int64s(1, 2, 3)], 3, ("num_outputs", 3));
        _graph.AddOutput(_builder.Add(split.Outputs[0], _builder.ShapeOf(_x, 0, 1)));
        _graph.AddOutput(_builder.Add(split.Outputs[2], _builder.ShapeOf(_x, 0, 1)));
        new ConstantFoldingPass().Run(_model);
        CollectionAssert.AreEqual(new long[] { 3 }, split.Outputs[2].Initializer!.ToArray<long>());
        Assert.IsFalse(_graph.Nodes.Any(n => n.OpType == "Split"));
    }

    [TestMethod]
    public void Run_KeptWeight_IsNotComputedWith()
    {
        Value weight = _graph.AddInitializer("weight", DenseTensor.Of<float>([2, 2], [1, 1, 1, 1]));
        Value transposed = _builder.Transpose(weight, 1, 0);
        Value asIntegers = _builder.Cast(transposed, DataType.Int64);
        _graph.AddOutput(_builder.Op("Neg", [_builder.Op("Abs", [asIntegers])]));
        Assert.IsFalse(new ConstantFoldingPass(v => v == weight).Run(_model));
        Assert.AreEqual(4, _graph.NodeCount);
    }

    [TestMethod]
    public void Run_ShapeOfKeptWeight_Folds()
    {
        Value weight = _graph.AddInitializer("weight", DenseTensor.Of<float>([2, 2], [1, 1, 1, 1]));
        Value shape = _builder.ShapeOf(weight);
        _graph.AddOutput(_builder.Expand(weight, shape));
        new ConstantFoldingPass(v => v == weight).Run(_model);
        CollectionAssert.AreEqual(new long[] { 2, 2 }, shape.Initializer!.ToArray<long>());
    }

    [TestMethod]
    public void Run_ShapeWithSymbolicDimension_FoldsOnlyItsStaticElements()
    {
        Value shape = _builder.ShapeOf(_x);
        Value batch = _builder.Op("Gather", [shape, _builder.Scalar(0L)]);
        Value width = _builder.Op("Gather", [shape, _builder.Scalar(2L)]);
        Value both = _builder.Concat(0, _builder.Unsqueeze(batch, 0), _builder.Unsqueeze(_builder.Mul(width, _builder.Scalar(3L)), 0));
        Value target = _builder.Reshape(_x, both);
        _graph.AddOutput(target);
        new ConstantFoldingPass().Run(_model);
        new DeadNodeEliminationPass().Run(_model);
        Assert.AreEqual(4L, width.Initializer?.ToArray<long>()[0] ?? 4L);
        Assert.IsNull(batch.Initializer);
        CollectionAssert.AreEqual(
            new[] { "Shape", "Gather", "Unsqueeze", "Concat", "Reshape" }, _graph.Nodes.Select(n => n.OpType).ToArray(), GraphPrinter.Print(_graph));
    }

    [TestMethod]
    public void Run_ShapeSliceOfStaticDimensions_Folds()
    {
        Value tail = _builder.ShapeOf(_x, 1, 3);
        _graph.AddOutput(_builder.Expand(_builder.Scalar(1f), tail));
        new ConstantFoldingPass().Run(_model);
        CollectionAssert.AreEqual(new long[] { 3, 4 }, tail.Initializer!.ToArray<long>());
    }

    [TestMethod]
    public void Run_FoldedTargetShape_MakesLaterShapesStatic()
    {
        Value y = _graph.AddInput("y", DataType.Float, new Shape(Dimension.Of("n")));
        Value target = _builder.Add(_builder.Int64s(1, 5), _builder.Int64s(1, 1));
        Value reshaped = _builder.Reshape(y, target);
        Value shape = _builder.ShapeOf(reshaped);
        _graph.AddOutput(_builder.Expand(_builder.Scalar(1f), shape));
        new ConstantFoldingPass().Run(_model);
        CollectionAssert.AreEqual(new long[] { 2, 6 }, shape.Initializer!.ToArray<long>());
    }

    [TestMethod]
    [DataRow("RandomNormal")]
    [DataRow("RandomUniform")]
    public void Run_RandomOperator_Stays(string opType)
    {
        _graph.AddOutput(_builder.Neg(_builder.Op(opType, [], ("shape", new long[] { 2 }))));
        Assert.IsFalse(new ConstantFoldingPass().Run(_model));
    }

    [TestMethod]
    public void Run_DequantizedWeight_KeepsItsStoredForm()
    {
        Value q = _graph.AddInitializer("q", DenseTensor.Of<sbyte>([2], [1, 2]));
        _graph.AddOutput(_builder.Neg(_builder.Op("DequantizeLinear", [q, _builder.Scalar(0.5f)])));
        Assert.IsFalse(new ConstantFoldingPass().Run(_model));
    }

    [TestMethod]
    public void Run_NodeMakingGraphOutput_Stays()
    {
        _graph.AddOutput(_builder.Neg(_builder.Scalar(1f)));
        Assert.IsFalse(new ConstantFoldingPass().Run(_model));
    }

    [TestMethod]
    [DataRow(64L, true)]
    [DataRow(65L, false)]
    public void Run_GrowingResult_FoldsUpToTheLimit(long size, bool folds)
    {
        _graph.AddOutput(_builder.Neg(_builder.Expand(_builder.Scalar(1f), _builder.Int64s(size))));
        Assert.AreEqual(folds, new ConstantFoldingPass(limits: new FoldingLimits(MaxGrowth: 64)).Run(_model));
    }

    [TestMethod]
    public void Run_HugeConstantOfShape_StaysWithoutBeingComputed()
    {
        _graph.AddOutput(_builder.Neg(_builder.Op("ConstantOfShape", [_builder.Int64s(1L << 20, 1L << 20)])));
        Assert.IsFalse(new ConstantFoldingPass().Run(_model));
    }

    [TestMethod]
    [DataRow(16L, true)]
    [DataRow(17L, false)]
    public void Run_LargeWeight_IsNotDuplicated(long size, bool folds)
    {
        Value weight = _graph.AddInitializer("w", DenseTensor.Of<float>([size, 1], new float[size]));
        _graph.AddOutput(_builder.Neg(_builder.Transpose(weight, 1, 0)));
        Assert.AreEqual(folds, new ConstantFoldingPass(limits: new FoldingLimits(MaxOutputElements: 16)).Run(_model));
    }

    [TestMethod]
    public void Run_DivisionByZero_StaysAndIsReported()
    {
        _graph.AddOutput(_builder.Neg(_builder.Div(_builder.Scalar(1L), _builder.Scalar(0L))));
        ConstantFoldingPass pass = new();
        Assert.IsFalse(pass.Run(_model));
        StringAssert.Contains(pass.Skipped.Single(), "divided by zero");
    }

    [TestMethod]
    public void Run_ConversionOutOfRange_IsLeftToTheRuntime()
    {
        _graph.AddOutput(_builder.Neg(_builder.Cast(_builder.Scalar(float.NegativeInfinity), DataType.Int64)));
        Assert.IsFalse(new ConstantFoldingPass().Run(_model));
    }

    [TestMethod]
    public void Run_ConstantsOfSubgraph_FoldInPlace()
    {
        Node choose = _graph.AddNode("If", [_graph.AddInput("flag", DataType.Bool, Shape.Scalar)]);
        Value outer = _builder.Int64s(2, 3);
        foreach (string name in new[] { "then_branch", "else_branch" })
        {
            // Sibling branches may use one name for different values.
            OnnxGraph branch = new(name, _graph);
            Node add = branch.AddNode("Add", [outer, outer], name);
            Value sum = add.AddOutput("sum", new OnnxType.Tensor(DataType.Int64, Shape.Of(2)));
            branch.AddOutput(branch.AddNode("Expand", [branch.AddInitializer("one", DenseTensor.Scalar(1f)), sum], "expand").AddOutput("expanded"));
            choose.SetAttribute(name, NodeAttribute.Of(branch));
        }

        _graph.AddOutput(choose.AddOutput("y"));
        Assert.IsTrue(new ConstantFoldingPass().Run(_model));
        foreach (OnnxGraph branch in choose.Subgraphs)
        {
            CollectionAssert.AreEqual(new long[] { 4, 6 }, branch.GetValue("sum").Initializer!.ToArray<long>());
            Assert.AreEqual(1, branch.NodeCount);
        }
    }

    [TestMethod]
    public void Run_ScalarOfHalf_KeepsItsTypeAndRounding()
    {
        Value sum = _builder.Add(_builder.Scalar((Half)2048), _builder.Scalar((Half)1));
        _graph.AddOutput(_builder.Neg(_builder.Neg(sum)));
        new ConstantFoldingPass().Run(_model);
        Assert.AreEqual((Half)2048, sum.Initializer!.ToArray<Half>()[0]);
    }
}
