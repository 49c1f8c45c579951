using System.Globalization;
using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.Gradients;

/// <summary>Gradients where functions are bent, tied or undefined, which differences cannot check: as PyTorch has them.</summary>
[TestClass]
public sealed class GradientAtKinksTests
{
    private const double Infinity = double.PositiveInfinity;

    public static IEnumerable<object[]> UnaryCases =>
    [
        ["Relu", new double[] { -1, 0, 2 }, new double[] { 0, 0, 1 }],
        ["LeakyRelu", new double[] { -1, 0, 2 }, new double[] { 0.01f, 0.01f, 1 }],
        ["Elu", new double[] { 0, 2 }, new double[] { 1, 1 }],
        ["Abs", new double[] { -1, 0, 2 }, new double[] { -1, 0, 1 }],
        ["Sqrt", new double[] { 0, 4 }, new double[] { Infinity, 0.25 }],
        ["HardSigmoid", new double[] { -2.5, 0, 2.5 }, new double[] { 0, 0.2f, 0 }],
        ["HardSwish", new double[] { -3, 3 }, new double[] { 0, 1 }],
        ["ThresholdedRelu", new double[] { 1, 2 }, new double[] { 0, 1 }],
        ["Round", new double[] { 0.4, 2.5 }, new double[] { 0, 0 }],
        ["Floor", new double[] { 0.4, 2 }, new double[] { 0, 0 }],
        ["Sign", new double[] { 0, 2 }, new double[] { 0, 0 }],
    ];

    [TestMethod]
    [DynamicData(nameof(UnaryCases))]
    public void Build_UnaryAtKink_FollowsPyTorch(string op, double[] x, double[] expected) =>
        AreEqual(expected, GradientOf(op, [Vector(x)])[0]);

    [TestMethod]
    public void Build_ClipOnItsBounds_LetsTheGradientPass() =>
        AreEqual([0, 1, 1, 1, 0], GradientOf("Clip", [Vector(-2, -1, 0, 1, 2), Scalar(-1), Scalar(1)])[0]);

    [TestMethod]
    public void Build_MaxOfTwoEqual_GivesHalfEach()
    {
        IReadOnlyList<double[]> gradients = GradientOf("Max", [Vector(1, 2, 3), Vector(1, 5, 0)]);
        AreEqual([0.5, 0, 1], gradients[0]);
        AreEqual([0.5, 1, 0], gradients[1]);
    }

    [TestMethod]
    [DataRow("ReduceMax", 5.0)]
    [DataRow("ReduceMin", -5.0)]
    public void Build_ReduceWithTies_SharesEqually(string op, double extreme) =>
        AreEqual([1 / 3.0, 0, 1 / 3.0, 1 / 3.0], GradientOf(op, [Vector(extreme, 0, extreme, extreme)])[0]);

    [TestMethod]
    public void Build_ReduceL2OfZeros_GivesZero() => AreEqual([0, 0], GradientOf("ReduceL2", [Vector(0, 0)])[0]);

    [TestMethod]
    public void Build_PowWithZeroExponents_GivesZeroAtZero()
    {
        IReadOnlyList<double[]> gradients = GradientOf("Pow", [Vector(0, 0, 3), Vector(0, 2, 0)]);
        AreEqual([0, 0, 0], gradients[0]);
        AreEqual([0, 0, Math.Log(3)], gradients[1]);
    }

    [TestMethod]
    public void Build_SqrtBehindWhere_KeepsInfinityOut()
    {
        // where(x > 0, sqrt(x), 0): the branch that is not taken has an infinite slope and a zero gradient.
        OnnxModel model = new(new OnnxGraph("guard")) { Opset = 21 };
        Value x = model.Graph.AddInput("x", DataType.Double, Shape.Of(2));
        GraphBuilder b = new(model.Graph, 21);
        Value root = b.Op("Sqrt", [b.Where(b.Op("Greater", [x, b.Scalar(0.0)]), x, b.Scalar(1.0))]);
        Value loss = b.Op("ReduceSum", [b.Where(b.Op("Greater", [x, b.Scalar(0.0)]), root, b.Scalar(0.0))], ("keepdims", 0));
        AreEqual([0, 0.25], Gradients(model, loss, [x], [Vector(0, 4)])[0]);
    }

    [TestMethod]
    public void Build_FullyMaskedAttentionRow_GivesZeroAndNoNaN()
    {
        // As exports of scaled dot-product attention: softmax of -inf alone is NaN, and Where(IsNaN(p), 0, p) hides it.
        OnnxModel model = new(new OnnxGraph("attention")) { Opset = 21 };
        Value x = model.Graph.AddInput("x", DataType.Double, Shape.Of(2, 3));
        Value mask = model.Graph.AddInitializer("mask", DenseTensor.Of([2, 3], [0.0, 0, -Infinity, -Infinity, -Infinity, -Infinity]));
        Value weights = model.Graph.AddInitializer("weights", DenseTensor.Of([2, 3], [1.0, 2, 3, 4, 5, 6]));
        GraphBuilder b = new(model.Graph, 21);
        Value p = b.Op("Softmax", [b.Add(x, mask)], ("axis", -1));
        Value safe = b.Where(b.Op("IsNaN", [p]), b.Scalar(0.0), p);
        Value loss = b.Op("ReduceSum", [b.Mul(safe, weights)], ("keepdims", 0));
        AreEqual([-0.25, 0.25, 0, 0, 0, 0], Gradients(model, loss, [x], [ReferenceTensor.OfDoubles([2, 3], 0, 0, 0, 0, 0, 0)])[0]);
    }

    private static ReferenceTensor Vector(params double[] values) => ReferenceTensor.OfDoubles([values.Length], [.. values]);

    private static ReferenceTensor Scalar(double value) => ReferenceTensor.OfDoubles([], value);

    // Gradient of the sum of the output by every input.
    private static IReadOnlyList<double[]> GradientOf(string op, ReferenceTensor[] inputs)
    {
        OnnxModel model = new(new OnnxGraph("kink")) { Opset = 21 };
        Value[] values = [.. inputs.Select((x, i) => model.Graph.AddInput($"x{i}", x.ElementType, Shape.Of(x.Dims)))];
        Node node = model.Graph.AddNode(op, values);
        Value y = node.AddOutput("y");
        NodeInference.Infer(node, 21);
        GraphBuilder b = new(model.Graph, 21);
        return Gradients(model, b.Op("ReduceSum", [y], ("keepdims", 0)), values, inputs);
    }

    private static IReadOnlyList<double[]> Gradients(OnnxModel model, Value loss, Value[] values, ReferenceTensor[] inputs)
    {
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(model, loss, null, values);
        Dictionary<string, ReferenceTensor> feeds = values.Zip(inputs).ToDictionary(p => p.First.Name, p => p.Second);
        IReadOnlyDictionary<string, ReferenceTensor> results = new ReferenceEvaluator(model).Run(feeds, gradients.Values.Select(g => g.Name));
        return [.. values.Select(v => results[gradients[v].Name].Floats.ToArray())];
    }

    private static void AreEqual(double[] expected, double[] actual)
    {
        string Text(double[] values) => string.Join(", ", values.Select(v => v.ToString("G9", CultureInfo.InvariantCulture)));
        Assert.AreEqual(Text(expected), Text([.. actual.Select(v => v == 0 ? 0 : v)]));
    }
}
