using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.TestKit;
using OrtQLoRA.TestKit.Gradients;

namespace OrtQLoRA.Graph.Tests.Losses;

[TestClass]
public sealed class LossHeadTests
{
    private const int Seed = 7;

    [TestMethod]
    public void CausalLm_Loss_IsTheMeanOverShiftedCountedTokens()
    {
        double[] logits = Logits(2 * 4 * 5);
        long[] labels = [3, 1, -100, 2, 0, -100, 4, 4];
        double expected = 0;
        (int Row, int Position)[] counted = [(0, 0), (0, 2), (1, 1), (1, 2)];
        foreach ((int row, int position) in counted)
        {
            expected += CrossEntropy(logits.AsSpan(((row * 4) + position) * 5, 5), labels[(row * 4) + position + 1]);
        }

        Assert.AreEqual(expected / counted.Length, Loss("causal-lm", logits, [2, 4, 5], labels), 1e-6);
    }

    [TestMethod]
    public void SequenceClassification_Loss_IsTheMeanOverRows()
    {
        double[] logits = Logits(3 * 4);
        double expected = (CrossEntropy(logits.AsSpan(0, 4), 2) + CrossEntropy(logits.AsSpan(8, 4), 0)) / 2;
        Assert.AreEqual(expected, Loss("sequence-classification", logits, [3, 4], [2, -100, 0]), 1e-6);
    }

    [TestMethod]
    public void TokenClassification_Loss_DoesNotShift()
    {
        double[] logits = Logits(2 * 2 * 3);
        double expected = (CrossEntropy(logits.AsSpan(0, 3), 1) + CrossEntropy(logits.AsSpan(6, 3), 0) + CrossEntropy(logits.AsSpan(9, 3), 2)) / 3;
        Assert.AreEqual(expected, Loss("token-classification", logits, [2, 2, 3], [1, -100, 0, 2]), 1e-6);
    }

    [TestMethod]
    public void CausalLm_NothingCounted_GivesZeroLossAndZeroGradient()
    {
        foreach ((long[] dims, long[] labels) in new[] { (new long[] { 1, 3, 4 }, new long[] { -100, -100, -100 }), ([2, 1, 4], [1, 2]) })
        {
            double[] logits = Logits((int)dims.Aggregate(1L, (n, d) => n * d));
            (double loss, double[] gradient) = LossAndGradient("causal-lm", logits, dims, labels);
            Assert.AreEqual(0, loss);
            Assert.IsTrue(gradient.All(g => g == 0), "gradient of a batch without labels");
        }
    }

    [TestMethod]
    public void CrossEntropy_HugeLogits_StayFinite()
    {
        (double loss, double[] gradient) = LossAndGradient("cross-entropy", [1e4, 0, -1e4, 0, 5, 5], [2, 3], [2, 0]);
        Assert.AreEqual((2e4 + 5 + Math.Log(2 + Math.Exp(-5))) / 2, loss, 1e-2);
        Assert.IsTrue(gradient.All(double.IsFinite));
    }

    [TestMethod]
    public void CrossEntropy_MinusInfinityInAnIgnoredRow_DoesNotSpoilTheOthers()
    {
        (double loss, double[] gradient) = LossAndGradient("cross-entropy", [double.NegativeInfinity, 0, 1, 1], [2, 2], [-100, 0]);
        Assert.AreEqual(Math.Log(2), loss, 1e-6);
        CollectionAssert.AreEqual(new[] { 0.0, 0, -0.5, 0.5 }, gradient.Select(g => Math.Round(g, 6) + 0.0).ToArray());
    }

    [TestMethod]
    [DataRow("causal-lm")]
    [DataRow("token-classification")]
    public void CrossEntropy_Gradient_AgreesWithCentralDifference(string name)
    {
        (OnnxModel model, Value logits) = Model([2, 4, 5]);
        LossAttachment attached = LossHeads.Get(name).Attach(model, logits);
        model.Graph.AddOutput(attached.Loss);
        Dictionary<string, ReferenceTensor> feeds = new()
        {
            ["logits"] = ReferenceTensor.OfFloats(DataType.Float, [2, 4, 5], Logits(40)),
            ["labels"] = ReferenceTensor.OfIntegers(DataType.Int64, [2, 4], 3, 1, -100, 2, 0, -100, 4, 4),
        };
        GradientChecker.Check(model, feeds, ["logits"], Seed, 1e-6);
    }

    [TestMethod]
    public void CrossEntropy_Gradient_FillsNoZeros()
    {
        (OnnxModel model, Value logits) = Model([2, 4, 5]);
        LossAttachment attached = LossHeads.Get("causal-lm").Attach(model, logits);
        GradientBuilder.Build(model, attached.Loss, null, [logits]);
        Assert.IsFalse(model.Graph.Nodes.Any(n => n.Is("ConstantOfShape") || n.Is("Expand")));
        Assert.AreEqual(1, model.Graph.Nodes.Count(n => n.Is("ScatterElements")));
    }

    [TestMethod]
    public void MeanSquaredError_LossAndGradient_AgreeWithTheFormula()
    {
        OnnxModel model = new(new OnnxGraph("regression")) { Opset = 21 };
        Value y = model.Graph.AddInput("y", DataType.Float, new Shape(Dimension.Of("batch"), 2));
        LossAttachment attached = LossHeads.Get("mse").Attach(model, y);
        Assert.AreEqual("target: float[batch, 2]", attached.Target.ToString());
        Assert.IsNull(attached.Count);
        Value gradient = GradientBuilder.Build(model, attached.Loss, null, [y])[y];
        IReadOnlyDictionary<string, ReferenceTensor> results = new ReferenceEvaluator(model).Run(
            new Dictionary<string, ReferenceTensor>
            {
                ["y"] = ReferenceTensor.OfFloats(DataType.Float, [2, 2], 1, 2, 3, 4),
                ["target"] = ReferenceTensor.OfFloats(DataType.Float, [2, 2], 0, 2, 5, 3),
            },
            ["loss", gradient.Name]);
        Assert.AreEqual(6.0 / 4, results["loss"].ToScalar(), 1e-12);
        CollectionAssert.AreEqual(new[] { 0.5, 0, -1, 0.5 }, results[gradient.Name].Floats.ToArray());
    }

    [TestMethod]
    public void Attach_CausalLm_AddsInputAndLossOfTheContractedNamesAndTypes()
    {
        OnnxModel model = new(new OnnxGraph("lm")) { Opset = 21 };
        Value logits = model.Graph.AddInput("logits", DataType.Float16, new Shape(Dimension.Of("batch"), Dimension.Of("sequence"), 7));
        LossAttachment attached = LossHeads.Get("causal-lm").Attach(model, logits);
        Assert.AreEqual("labels: int64[batch, sequence]", attached.Target.ToString());
        Assert.IsTrue(attached.Target.IsGraphInput);
        Assert.AreEqual("loss: float[]", attached.Loss.ToString());
        Assert.AreEqual("float", attached.Count!.ElementType.OnnxName());
    }

    [TestMethod]
    public void Attach_HeadToTheWrongRank_IsRefused()
    {
        (OnnxModel model, Value logits) = Model([2, 5]);
        StringAssert.Contains(
            Assert.ThrowsExactly<GraphException>(() => LossHeads.Get("causal-lm").Attach(model, logits)).Message,
            "needs logits [batch, sequence, vocabulary], but output 'logits: float[2, 5]' has another rank");
    }

    [TestMethod]
    public void Attach_HeadToIntegers_IsRefused()
    {
        OnnxModel model = new(new OnnxGraph("ids")) { Opset = 21 };
        Value ids = model.Graph.AddInput("ids", DataType.Int64, Shape.Of(2, 3));
        Assert.ThrowsExactly<GraphException>(() => LossHeads.Get("cross-entropy").Attach(model, ids));
        Assert.ThrowsExactly<GraphException>(() => LossHeads.Get("mse").Attach(model, ids));
    }

    [TestMethod]
    public void Attach_ModelWithItsOwnLabels_IsRefused()
    {
        (OnnxModel model, Value logits) = Model([2, 5]);
        model.Graph.AddInput("labels", DataType.Int64, Shape.Of(2));
        StringAssert.Contains(
            Assert.ThrowsExactly<GraphException>(() => LossHeads.Get("cross-entropy").Attach(model, logits)).Message, "adds a value named 'labels'");
    }

    [TestMethod]
    public void Attach_InnerValueNamedLoss_GivesWay()
    {
        (OnnxModel model, Value logits) = Model([2, 5]);
        Value inner = new GraphBuilder(model.Graph, 21).Neg(logits);
        inner.Name = "loss";
        Assert.AreEqual("loss", LossHeads.Get("cross-entropy").Attach(model, inner).Loss.Name);
        Assert.AreEqual("loss_1", inner.Name);
    }

    [TestMethod]
    [DataRow(Pooling.Mean)]
    [DataRow(Pooling.Cls)]
    [DataRow(Pooling.Last)]
    public void Contrastive_PooledPairs_IsTheCrossEntropyOfCosines(Pooling pooling)
    {
        // Rows 0 and 1 are anchors, rows 2 and 3 their positives, row 4 a negative of its own.
        double[] states = Logits(5 * 3 * 4);
        long[] mask = [1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 1];
        double[][] vectors = [.. Enumerable.Range(0, 5).Select(row => Pooled(states, mask, row, pooling))];
        double expected = Enumerable.Range(0, 2).Average(a =>
            CrossEntropy(Array.ConvertAll([2, 3, 4], c => 20 * vectors[a].Zip(vectors[c], (x, y) => x * y).Sum()), a));

        Assert.AreEqual(expected, ContrastiveLossOf(pooling, states, mask).Loss, 1e-5);
    }

    [TestMethod]
    [DataRow(Pooling.Mean)]
    [DataRow(Pooling.Last)]
    public void Contrastive_Gradient_IsTheDifferenceQuotientAndZeroOnPadding(Pooling pooling)
    {
        double[] states = Logits(5 * 3 * 4);
        long[] mask = [1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 1];
        double[] gradient = ContrastiveLossOf(pooling, states, mask).Gradient;
        const double Step = 1e-2;
        foreach (int i in new[] { 8, 12, 17, 24, 50 })
        {
            double[] above = [.. states];
            double[] below = [.. states];
            above[i] += Step;
            below[i] -= Step;
            double quotient = (ContrastiveLossOf(pooling, above, mask).Loss - ContrastiveLossOf(pooling, below, mask).Loss) / (2 * Step);
            Assert.AreEqual(quotient, gradient[i], 2e-3, $"element {i}");
        }

        Assert.IsTrue(gradient.AsSpan(20, 4).IndexOfAnyExcept(0.0) < 0, "gradient of a padded token");
    }

    [TestMethod]
    public void Get_UnknownName_ListsTheLosses() => StringAssert.Contains(
        Assert.ThrowsExactly<ConfigurationException>(() => LossHeads.Get("hinge")).Message, "choose one of causal-lm, sequence-classification");

    private static (OnnxModel Model, Value Logits) Model(long[] dims)
    {
        OnnxModel model = new(new OnnxGraph("logits")) { Opset = 21 };
        return (model, model.Graph.AddInput("logits", DataType.Float, Shape.Of(dims)));
    }

    private static double[] Pooled(double[] states, long[] mask, int row, Pooling pooling)
    {
        int[] tokens = [.. Enumerable.Range(0, 3).Where(t => mask[(row * 3) + t] != 0)];
        int[] taken = pooling == Pooling.Mean ? tokens : pooling == Pooling.Cls ? [0] : [tokens[^1]];
        double[] sum = [.. Enumerable.Range(0, 4).Select(h => taken.Sum(t => states[(((row * 3) + t) * 4) + h]))];
        double norm = Math.Sqrt(sum.Sum(v => v * v));
        return [.. sum.Select(v => v / norm)];
    }

    private static (double Loss, double[] Gradient) ContrastiveLossOf(Pooling pooling, double[] states, long[] mask)
    {
        OnnxModel model = new(new OnnxGraph("states")) { Opset = 21 };
        Value value = model.Graph.AddInput("states", DataType.Float, Shape.Of(5, 3, 4));
        model.Graph.AddInput("attention_mask", DataType.Int64, Shape.Of(5, 3));
        LossAttachment attached = new ContrastiveLoss(pooling).Attach(model, value);
        Value gradient = GradientBuilder.Build(model, attached.Loss, null, [value])[value];
        model.Graph.AddOutput(attached.Loss);
        model.Graph.AddOutput(gradient);
        IReadOnlyDictionary<string, ITensor> results = OrtRunner.Run(model, new Dictionary<string, ITensor>
        {
            ["states"] = DenseTensor.Of([5, 3, 4], Array.ConvertAll(states, s => (float)s)),
            ["attention_mask"] = DenseTensor.Of([5, 3], mask),
            ["labels"] = DenseTensor.Of([5], new long[] { 2, 3, -100, -100, -100 }),
        });
        return (results["loss"].ToFloats()[0], Array.ConvertAll(results[gradient.Name].ToFloats(), g => (double)g));
    }

    private static double Loss(string name, double[] logits, long[] dims, long[] labels) => LossAndGradient(name, logits, dims, labels).Loss;

    // On ONNX Runtime, in float.
    private static (double Loss, double[] Gradient) LossAndGradient(string name, double[] logits, long[] dims, long[] labels)
    {
        (OnnxModel model, Value value) = Model(dims);
        LossAttachment attached = LossHeads.Get(name).Attach(model, value);
        Value gradient = GradientBuilder.Build(model, attached.Loss, null, [value])[value];
        model.Graph.AddOutput(attached.Loss);
        model.Graph.AddOutput(gradient);
        IReadOnlyDictionary<string, ITensor> results = OrtRunner.Run(model, new Dictionary<string, ITensor>
        {
            ["logits"] = DenseTensor.Of(dims, Array.ConvertAll(logits, l => (float)l)),
            ["labels"] = DenseTensor.Of(dims.SkipLast(1), labels),
        });
        return (results["loss"].ToFloats()[0], Array.ConvertAll(results[gradient.Name].ToFloats(), g => (double)g));
    }

    private static double[] Logits(int count)
    {
        Random random = new(Seed);
        return [.. Enumerable.Range(0, count).Select(_ => (4 * random.NextDouble()) - 2)];
    }

    private static double CrossEntropy(ReadOnlySpan<double> logits, long label)
    {
        double sum = 0;
        foreach (double logit in logits)
        {
            sum += Math.Exp(logit);
        }

        return Math.Log(sum) - logits[(int)label];
    }
}
