using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;

namespace OrtQLoRA.Graph.Tests.Gradients;

[TestClass]
public sealed class GradientBuilderTests : IDisposable
{
    private readonly OnnxModel _model = new(new OnnxGraph("main")) { Opset = 21 };

    private OnnxGraph Graph => _model.Graph;

    private GraphBuilder B => new(Graph, 21);

    public void Dispose() => _model.Dispose();

    [TestMethod]
    public void Build_Results_AreNamedAfterTheirValuesAndDistinct()
    {
        Value a = Input("a", 2);
        Value c = Input("c", 2);
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(_model, Sum(B.Add(a, c)), null, [a, c]);
        Assert.AreEqual("a_grad", gradients[a].Name);
        Assert.AreEqual("c_grad", gradients[c].Name);
    }

    [TestMethod]
    public void Build_TakenName_IsMadeUnique()
    {
        Value a = Input("a", 2);
        Input("a_grad", 2);
        Assert.AreEqual("a_grad_1", GradientBuilder.Build(_model, Sum(B.Mul(a, a)), null, [a])[a].Name);
    }

    [TestMethod]
    public void Build_LossWeight_MultipliesEveryGradient()
    {
        Value a = Input("a", 2);
        Value weight = Graph.AddInput("loss_weight", DataType.Double, Shape.Scalar);
        Value gradient = GradientBuilder.Build(_model, Sum(B.Mul(a, a)), weight, [a])[a];
        CollectionAssert.AreEqual(new[] { 1.0, -4 }, Evaluate(gradient, ("a", [1, -4]), ("loss_weight", [0.5])));
    }

    [TestMethod]
    public void Build_OutputOfANode_HasAGradientBesideItsSource()
    {
        Value a = Input("a", 2);
        Value square = B.Mul(a, a);
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(_model, Sum(B.Mul(square, square)), null, [a, square]);
        CollectionAssert.AreEqual(new[] { 2.0, 8 }, Evaluate(gradients[square], ("a", [1, 2])));
        CollectionAssert.AreEqual(new[] { 4.0, 32 }, Evaluate(gradients[a], ("a", [1, 2])));
    }

    [TestMethod]
    public void Build_LossItself_HasTheGradientOne()
    {
        Value loss = Sum(Input("a", 2));
        Assert.AreEqual(1, Evaluate(GradientBuilder.Build(_model, loss, null, [loss])[loss], ("a", [1, 2]))[0]);
    }

    [TestMethod]
    public void Build_ValueThatTheLossDoesNotUse_HasZeros()
    {
        Value a = Input("a", 2);
        Value unused = Graph.AddInput("unused", DataType.Double, new Shape(Dimension.Of("rows"), 3));
        Value gradient = GradientBuilder.Build(_model, Sum(a), null, [a, unused])[unused];
        Assert.AreEqual("unused_grad: double[rows, 3]", gradient.ToString());
        CollectionAssert.AreEqual(new double[3], Evaluate(gradient, ("unused", [1, 2, 3])));
    }

    [TestMethod]
    public void Build_ValueThatTheLossDoesNotUse_IsAnErrorByOption()
    {
        Value a = Input("a", 2);
        Value unused = Input("unused", 3);
        GraphException e = Assert.ThrowsExactly<GraphException>(() => GradientBuilder.Build(
            _model, Sum(a), null, [a, unused], new GradientOptions { Unreachable = UnreachableGradient.Error }));
        StringAssert.Contains(e.Message, "does not depend on 'unused'");
    }

    [TestMethod]
    public void Build_IntegersOnTheWay_StopTheGradient()
    {
        Value a = Input("a", 2);
        Value whole = B.Cast(B.Cast(a, DataType.Int64), DataType.Double);
        Value gradient = GradientBuilder.Build(_model, Sum(B.Mul(whole, a)), null, [a])[a];
        CollectionAssert.AreEqual(new double[] { 1, 2 }, Evaluate(gradient, ("a", [1.3, 2.7])));
    }

    [TestMethod]
    public void Build_OperatorWithoutARule_IsNamedWithNodeAndTrainable()
    {
        Value a = Input("q_proj.lora_A", 2);
        Node node = Graph.AddNode("Unheard", [B.Neg(a)], "/layers.3/attn/Unheard");
        Value y = node.AddOutput("y", new OnnxType.Tensor(DataType.Double, Shape.Of(2)));
        Value loss = Sum(y);
        UnsupportedOpException e = Assert.ThrowsExactly<UnsupportedOpException>(() => GradientBuilder.Build(_model, loss, null, [a]));
        StringAssert.StartsWith(
            e.Message,
            "No gradient rule for 'Unheard' (opset 21) at node '/layers.3/attn/Unheard', which lies between the loss and trainable 'q_proj.lora_A'. Add a rule under Gradients/Rules or decompose Unheard first.");
    }

    [TestMethod]
    public void Build_OperatorWithoutARuleOffThePath_DoesNotMatter()
    {
        Value a = Input("a", 2);
        Node node = Graph.AddNode("Unheard", [Input("x", 2)]);
        Value y = node.AddOutput("y", new OnnxType.Tensor(DataType.Double, Shape.Of(2)));
        Value dead = Graph.AddNode("Unheard", [a]).AddOutput("dead", new OnnxType.Tensor(DataType.Double, Shape.Of(2)));
        Assert.IsNotNull(GradientBuilder.Build(_model, Sum(B.Mul(a, y)), null, [a])[a]);
        Assert.IsFalse(dead.IsUsed);
    }

    [TestMethod]
    public void Build_IfThatReadsATrainableInABranch_IsRefused()
    {
        Value a = Input("a", 2);
        Node node = Graph.AddNode("If", [Graph.AddInput("flag", DataType.Bool, Shape.Scalar)], "/choice");
        foreach (string branch in new[] { "then_branch", "else_branch" })
        {
            OnnxGraph body = new(branch, Graph);
            body.AddOutput(new GraphBuilder(body, 21).Neg(a));
            node.SetAttribute(branch, NodeAttribute.Of(body));
        }

        Value y = node.AddOutput("y", new OnnxType.Tensor(DataType.Double, Shape.Of(2)));
        Value loss = Sum(y);
        UnsupportedOpException e = Assert.ThrowsExactly<UnsupportedOpException>(() => GradientBuilder.Build(_model, loss, null, [a]));
        StringAssert.Contains(e.Message, "'If' (opset 21) at node '/choice'");
        StringAssert.Contains(e.Message, "The condition of this If is not known for training");
    }

    [TestMethod]
    public void Build_LossOfSeveralElements_IsRefused()
    {
        Value a = Input("a", 2);
        StringAssert.Contains(
            Assert.ThrowsExactly<GraphException>(() => GradientBuilder.Build(_model, a, null, [a])).Message, "must be a floating-point tensor of one element");
    }

    [TestMethod]
    public void Build_IntegerToDifferentiateBy_IsRefused()
    {
        Value ids = Graph.AddInput("ids", DataType.Int64, Shape.Of(2));
        Value loss = Sum(Input("a", 2));
        StringAssert.Contains(
            Assert.ThrowsExactly<GraphException>(() => GradientBuilder.Build(_model, loss, null, [ids])).Message, "'ids: int64[2]' has no floating-point type");
    }

    [TestMethod]
    public void Build_RuleWithTheWrongCount_IsReported()
    {
        Value a = Input("a", 2);
        Value loss = Sum(Twice(a));
        GradientRuleRegistry rules = GradientRuleRegistry.CreateDefault().Add("Twice", c => [c.OutputGradient, null], "test");
        StringAssert.Contains(
            Assert.ThrowsExactly<GraphException>(() => GradientBuilder.Build(_model, loss, null, [a], new GradientOptions { Rules = rules })).Message,
            "gave 2 gradients for 1 inputs");
    }

    [TestMethod]
    public void Build_RuleWithTheWrongType_IsReported()
    {
        Value a = Input("a", 2);
        Value loss = Sum(Twice(a));
        GradientRuleRegistry rules = GradientRuleRegistry.CreateDefault().Add("Twice", c => [c.Builder.Cast(c.OutputGradient, DataType.Float)], "test");
        StringAssert.Contains(
            Assert.ThrowsExactly<GraphException>(() => GradientBuilder.Build(_model, loss, null, [a], new GradientOptions { Rules = rules })).Message,
            "gave a gradient of type float for the double value 'a'");
    }

    [TestMethod]
    public void Build_RuleWithTheWrongShape_IsReported()
    {
        Value a = Input("a", 2);
        Value loss = Sum(Twice(a));
        GradientRuleRegistry rules = GradientRuleRegistry.CreateDefault().Add("Twice", c => [c.Builder.Constant(DenseTensor.Vector(1.0, 2, 3))], "test");
        StringAssert.Contains(
            Assert.ThrowsExactly<GraphException>(() => GradientBuilder.Build(_model, loss, null, [a], new GradientOptions { Rules = rules })).Message,
            "cannot be summed down to 'a: double[2]'");
    }

    [TestMethod]
    public void Build_SlicesThatCoverAnAxis_AreConcatenatedNotPadded()
    {
        Value packed = Input("packed", 6);
        Value Part(long start, long end) => B.Op("Slice", [packed, B.Int64s(start), B.Int64s(end), B.Int64s(0)]);
        Value loss = Sum(B.Mul(B.Mul(Part(4, 6), Part(0, 2)), Part(2, 4)));
        Value gradient = GradientBuilder.Build(_model, loss, null, [packed])[packed];
        Assert.AreEqual("Concat", gradient.Producer!.OpType);
        Assert.IsFalse(Graph.Nodes.Any(n => n.Is("Pad")));
        CollectionAssert.AreEqual(new double[] { 15, 24, 5, 12, 3, 8 }, Evaluate(gradient, ("packed", [1, 2, 3, 4, 5, 6])));
    }

    [TestMethod]
    public void Build_GradientOfAMean_IsNotBroadcastBeforeItIsMultiplied()
    {
        Value x = Graph.AddInput("x", DataType.Double, new Shape(Dimension.Of("batch"), 4));
        Value mean = B.ReduceMean(B.Mul(x, x), keepDims: true, -1);
        GradientBuilder.Build(_model, Sum(B.Mul(mean, mean)), null, [x]);
        Assert.IsFalse(Graph.Nodes.Any(n => n.Is("Expand")));
    }

    [TestMethod]
    public void Build_KnownSymbols_NeedNoShapeOfActivations()
    {
        Value x = Graph.AddInput("x", DataType.Double, new Shape(Dimension.Of("batch"), Dimension.Of("sequence"), 4));
        Value w = Graph.AddInitializer("w", DenseTensor.Of([4, 6], new double[24]));
        Value bias = Graph.AddInitializer("bias", DenseTensor.Of([6], new double[6]));
        Value heads = B.Reshape(B.Add(bias, B.MatMul(B.Neg(x), w)), 0, 0, 2, 3);
        GradientBuilder.Build(_model, Sum(B.Transpose(heads, 0, 2, 1, 3)), null, [x, w, bias]);
        Assert.IsFalse(Graph.Nodes.Any(n => n.Is("Shape") && n.Inputs[0] != x));
    }

    [TestMethod]
    public void Build_EmittedNodes_AreAllRead()
    {
        Value x = Graph.AddInput("x", DataType.Double, new Shape(Dimension.Of("batch"), 4));
        Value w = Graph.AddInitializer("w", DenseTensor.Of([4], new double[4]));
        HashSet<Node> forward = [];
        Value loss = Sum(B.Mul(B.Sub(x, B.ReduceMean(x, keepDims: true, -1)), w));
        forward.UnionWith(Graph.Nodes);
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(_model, loss, null, [w]);
        Assert.IsEmpty(Graph.Nodes.Where(n => !forward.Contains(n) && n.Outputs.All(o => !o.IsUsed && o != gradients[w])));
        Assert.IsEmpty(Graph.Initializers.Where(i => !i.IsUsed));
    }

    [TestMethod]
    public void Build_ManyRepeatedRows_AddUpOnSeveralThreads()
    {
        // ScatterND with reduction 'add' loses updates here; see RowScatter.
        foreach (int rows in new[] { 8, 4000 })
        {
            const int Lookups = 512;
            const int Width = 512;
            OnnxModel model = new(new OnnxGraph("embedding")) { Opset = 21 };
            Value table = model.Graph.AddInput("table", DataType.Float, Shape.Of(rows, Width));
            Value ids = model.Graph.AddInput("ids", DataType.Int64, new Shape(Dimension.Of("n")));
            GraphBuilder b = new(model.Graph, 21);
            Value loss = b.Op("ReduceSum", [b.Op("Gather", [table, ids])], ("keepdims", 0));
            model.Graph.AddOutput(GradientBuilder.Build(model, loss, null, [table])[table]);

            using var session = TestKit.OrtRunner.Open(model, threads: 2);
            ITensor gradient = TestKit.OrtRunner.Run(session, new Dictionary<string, ITensor>
            {
                ["table"] = DenseTensor.Of([rows, Width], new float[rows * Width]),
                ["ids"] = DenseTensor.Of([Lookups], Enumerable.Range(0, Lookups).Select(i => (long)(i % 4)).ToArray()),
            })["table_grad"];
            float[] values = gradient.ToFloats();
            Assert.IsTrue(values.Take(4 * Width).All(v => v == Lookups / 4), $"{rows} rows: a looked-up row has lost updates");
            Assert.IsTrue(values.Skip(4 * Width).All(v => v == 0), $"{rows} rows: a row that was not looked up is not zero");
        }
    }

    [TestMethod]
    public void Build_Result_CanBeWritten()
    {
        Value a = Input("a", 2);
        Value gradient = GradientBuilder.Build(_model, Sum(B.Mul(a, a)), null, [a])[a];
        Graph.AddOutput(gradient);
        Assert.IsNotEmpty(OnnxModelWriter.ToBytes(_model));
    }

    private Value Input(string name, long length) => Graph.AddInput(name, DataType.Double, Shape.Of(length));

    private Value Sum(Value value) => B.Op("ReduceSum", [value], ("keepdims", 0));

    private Value Twice(Value value)
    {
        _model.OpsetImports["test"] = 1;
        return Graph.AddNode("Twice", [value], domain: "test").AddOutput("twice", value.Type);
    }

    private double[] Evaluate(Value value, params (string Name, double[] Values)[] feeds) => [.. new ReferenceEvaluator(_model).Run(
        feeds.ToDictionary(f => f.Name, f => ReferenceTensor.OfDoubles(
            Graph.GetValue(f.Name).Shape!.Rank switch { 0 => [], 1 => [f.Values.Length], _ => [1, f.Values.Length] }, [.. f.Values])),
        [value.Name])[value.Name].Floats];
}
