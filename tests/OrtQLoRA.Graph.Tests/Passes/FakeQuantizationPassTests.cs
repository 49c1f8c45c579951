using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class FakeQuantizationPassTests
{
    private static readonly float[] X = [-5f, -0.33f, 0.12f, 0.5f, 1.1f, 100f];

    [TestMethod]
    [DataRow("QuantizeLinear", "")]
    [DataRow("QuantizeLinear", OperatorDomains.Microsoft)]
    public void Run_RoundedActivations_KeepTheirValuesAndPassTheGradientWhereTheyDoNotSaturate(string op, string domain)
    {
        // uint8 with zero point 3 and scale 0.1 holds -0.3 to 25.2; -0.33 still rounds to -0.3.
        OnnxModel model = Model(domain, DenseTensor.Scalar(0.1f), DenseTensor.Scalar((byte)3), axis: null);
        IReadOnlyDictionary<string, ITensor> results = Differentiate(model, op);

        TensorAssert.AreClose((float[])[-0.3f, -0.3f, 0.1f, 0.5f, 1.1f, 25.2f], results["y"].ToFloats(), 1e-6, "y");
        CollectionAssert.AreEqual(new float[] { 0, 2, 3, 4, 5, 0 }, results["x_grad"].ToFloats());
    }

    [TestMethod]
    public void Run_ScaleForEachColumn_SaturatesColumnByColumn()
    {
        OnnxModel model = Model("", DenseTensor.Vector(0.01f, 1f, 0.1f), DenseTensor.Vector<sbyte>(0, 0, 10), axis: -1);
        IReadOnlyDictionary<string, ITensor> results = Differentiate(model, "QuantizeLinear");

        TensorAssert.AreClose((float[])[-1.28f, 0, 0.1f, 0.5f, 1, 11.7f], results["y"].ToFloats(), 1e-6, "y");
        CollectionAssert.AreEqual(new float[] { 0, 2, 3, 4, 5, 0 }, results["x_grad"].ToFloats());
    }

    [TestMethod]
    public void Run_DynamicQuantization_PassesTheGradientEverywhere()
    {
        OnnxModel model = Empty();
        model.Graph.Line("q, s, z = DynamicQuantizeLinear(x)");
        model.Graph.Line("y = DequantizeLinear(q, s, z)");
        model.Graph.Outputs("y");
        ITensor expected = OrtRunner.Run(model, Feeds)["y"];

        IReadOnlyDictionary<string, ITensor> results = Differentiate(model, "DynamicQuantizeLinear");

        TensorAssert.AreClose(expected, results["y"], 1e-6);
        CollectionAssert.AreEqual(new float[] { 1, 2, 3, 4, 5, 6 }, results["x_grad"].ToFloats());
    }

    [TestMethod]
    public void Build_RoundedWithOneScaleAndReadWithAnother_IsRefused()
    {
        OnnxModel model = Model("", DenseTensor.Scalar(0.1f), DenseTensor.Scalar((byte)3), axis: null);
        model.Graph.SetInitializer(model.Graph.GetValue("s2"), DenseTensor.Scalar(0.2f));
        new ShapeInferencePass().Run(model);

        Assert.IsFalse(new FakeQuantizationPass().Run(model));

        UnsupportedOpException e = Assert.ThrowsExactly<UnsupportedOpException>(() => AddGradient(model));
        StringAssert.Contains(e.Message, "same scale and zero point");
    }

    [TestMethod]
    public void Run_QuantizedConstant_StaysAWeight()
    {
        OnnxModel constant = GraphText.Model();
        constant.Graph.AddInitializer("x", DenseTensor.Of([2, 3], X));
        constant.Graph.AddInitializer("s", DenseTensor.Scalar(0.1f));
        constant.Graph.Line("q = QuantizeLinear(x, s)");
        constant.Graph.Line("y = DequantizeLinear(q, s)");
        constant.Graph.Outputs("y");

        Assert.IsFalse(new FakeQuantizationPass().Run(constant));
    }

    private static Dictionary<string, ITensor> Feeds => new() { ["x"] = DenseTensor.Of([2, 3], X) };

    private static OnnxModel Empty()
    {
        OnnxModel model = GraphText.Model();
        model.OpsetImports[OperatorDomains.Microsoft] = 1;
        model.Graph.Input("x", DataType.Float, 2, 3);
        return model;
    }

    // Scale and zero point stand twice, as quantizers write them.
    private static OnnxModel Model(string domain, DenseTensor scale, DenseTensor zeroPoint, long? axis)
    {
        OnnxModel model = Empty();
        foreach (string suffix in (string[])["1", "2"])
        {
            model.Graph.AddInitializer("s" + suffix, scale);
            model.Graph.AddInitializer("z" + suffix, zeroPoint);
        }

        string prefix = domain.Length == 0 ? "" : domain + "::";
        (string, NodeAttribute)[] attributes = axis is long a ? [("axis", a)] : [];
        model.Graph.Line($"q = {prefix}QuantizeLinear(x, s1, z1)", attributes);
        model.Graph.Line($"y = {prefix}DequantizeLinear(q, s2, z2)", attributes);
        model.Graph.Outputs("y");
        return model;
    }

    private static IReadOnlyDictionary<string, ITensor> Differentiate(OnnxModel model, string quantizer)
    {
        new ShapeInferencePass().Run(model);
        Assert.IsTrue(new FakeQuantizationPass().Run(model));
        Assert.AreEqual("y", model.Graph.Outputs.Single().Name);
        Assert.AreEqual(1, model.Graph.Nodes.Count(n => n.OpType == quantizer));
        AddGradient(model);
        return OrtRunner.Run(model, Feeds);
    }

    // loss = sum of y * [1, 2, ..., 6]
    private static void AddGradient(OnnxModel model)
    {
        GraphBuilder b = new(model.Graph, model.Opset);
        Value weights = b.Constant(DenseTensor.Of([2, 3], [1f, 2, 3, 4, 5, 6]));
        Value loss = b.Op("ReduceSum", [b.Mul(model.Graph.GetValue("y"), weights)], ("keepdims", 0));
        Value x = model.Graph.GetValue("x");
        model.Graph.AddOutput(GradientBuilder.Build(model, loss, null, [x])[x]);
    }
}
