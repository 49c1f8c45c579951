using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class BFloat16WideningPassTests
{
    private static readonly float[] Weights = [0.5f, -1.25f, 2, 0.75f, 1.5f, -3];

    [TestMethod]
    public void ForTraining_BFloat16Model_ComputesInFp32AndKeepsTypesOutside()
    {
        OnnxModel model = Model();
        NormalisationPipeline.ForTraining(v => v.Name == "fc.weight").Run(model);

        GraphVerifier.Verify(model);
        Assert.AreEqual(DataType.BFloat16, model.Graph.GetValue("fc.weight").ElementType);
        Assert.AreEqual(DataType.BFloat16, model.Graph.GetValue("y").ElementType);
        Assert.AreEqual("fc", LinearFinder.Find(model).Modules.Single().Path);
        ITensor result = OrtRunner.Run(model, new Dictionary<string, ITensor> { ["x"] = DenseTensor.Of([1, 2], [2f, 4]) })["y"];

        // x W + 1 with W [2, 3], all of it exact in bfloat16.
        CollectionAssert.AreEqual((float[])[5, 4.5f, -7], result.ToFloats());
    }

    [TestMethod]
    public void ForTraining_BFloat16Model_HasGradientsOfItsWeights()
    {
        OnnxModel model = Model();
        NormalisationPipeline.ForTraining(v => v.Name == "fc.weight").Run(model);
        GraphBuilder builder = new(model.Graph, model.Opset);
        Value loss = builder.ReduceSum(builder.Cast(model.Graph.GetValue("y"), DataType.Float), keepDims: false, 0, 1);
        Value weight = model.Graph.GetValue("fc.weight");
        Value gradient = builder.Cast(GradientBuilder.Build(model, loss, null, [weight])[weight], DataType.Float);
        model.Graph.AddOutput(gradient);

        ITensor result = OrtRunner.Run(model, new Dictionary<string, ITensor> { ["x"] = DenseTensor.Of([1, 2], [2f, 4]) })[gradient.Name];

        CollectionAssert.AreEqual((float[])[2, 2, 2, 4, 4, 4], result.ToFloats());
    }

    [TestMethod]
    public void Run_ModelWithoutBFloat16_Stays()
    {
        OnnxModel model = GraphText.Model();
        model.Graph.Input("x", DataType.Float, 2);
        model.Graph.Line("y = Neg(x)");
        model.Graph.Outputs("y");
        Assert.IsFalse(new BFloat16WideningPass().Run(model));
    }

    private static OnnxModel Model()
    {
        OnnxModel model = GraphText.Model();
        model.Graph.Input("x", DataType.Float, Dimension.Of("batch"), 2);
        model.Graph.AddInitializer("fc.weight", Rounded([2, 3], Weights));
        model.Graph.AddInitializer("one", Rounded([], [1]));
        model.Graph.Line("h = Cast(x)", ("to", (long)DataType.BFloat16));
        model.Graph.Line("p = MatMul(h, fc.weight)");
        model.Graph.Line("y = Add(p, one)");
        model.Graph.Outputs("y");
        return model;
    }

    private static DenseTensor Rounded(long[] dims, float[] values) =>
        new(DataType.BFloat16, dims, values.SelectMany(v => BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits(v) >> 16))).ToArray());
}
