using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class IntegerWeightPassTests
{
    [TestMethod]
    [DataRow(new long[] { 3 }, false, false)]
    [DataRow(new long[] { 1, 3 }, true, false)]
    [DataRow(new long[] { 4, 1 }, true, true)]
    [DataRow(new long[] { }, true, true)]
    public void ForTraining_IntegersBehindCastAndMul_BecomeDequantizeLinear(long[] scaleDims, bool hasZeroPoint, bool scaleFirst)
    {
        OnnxModel model = Model(scaleDims, hasZeroPoint, scaleFirst, zeroPoint: 2);
        Dictionary<string, ITensor> feeds = new() { ["x"] = DenseTensor.Of([2, 4], [1f, -2, 3, 0.5f, 0, 1, -1, 2]) };
        ITensor expected = OrtRunner.Run(model, feeds)["y"];

        NormalisationPipeline.ForTraining(v => v.ElementType == DataType.Float).Run(model);

        Assert.AreEqual("DequantizeLinear", string.Join(", ", model.Graph.Nodes.Where(n => n.OpType is "DequantizeLinear" or "Cast" or "Sub" or "Mul").Select(n => n.OpType)));
        LinearModule module = LinearFinder.Find(model).Modules.Single();
        Assert.AreEqual(WeightStorage.DequantizeLinear, module.Storage);
        Assert.AreEqual("fc", module.Path);
        TensorAssert.AreClose(expected, OrtRunner.Run(model, feeds)["y"], 1e-6);
    }

    [TestMethod]
    public void Run_ZeroPointsThatAreNoIntegers_StayAsTheyAre()
    {
        OnnxModel model = Model([3], hasZeroPoint: true, scaleFirst: false, zeroPoint: 0.5f);
        Assert.IsFalse(new IntegerWeightPass().Run(model));
    }

    private static OnnxModel Model(long[] scaleDims, bool hasZeroPoint, bool scaleFirst, float zeroPoint)
    {
        OnnxModel model = GraphText.Model();
        model.Graph.Input("x", DataType.Float, Dimension.Of("batch"), 4);
        model.Graph.AddInitializer("fc.weight", DenseTensor.Of([4, 3], (sbyte[])[1, -2, 3, 4, 5, -6, 7, 8, -9, 10, 11, 12]));
        long count = scaleDims.Aggregate(1L, (n, d) => n * d);
        model.Graph.AddInitializer("scale", DenseTensor.Of(scaleDims, [.. Enumerable.Range(1, (int)count).Select(i => 0.1f * i)]));
        model.Graph.AddInitializer("zero", DenseTensor.Of(scaleDims, [.. Enumerable.Repeat(zeroPoint, (int)count)]));
        model.Graph.Line("f = Cast(fc.weight)", ("to", (long)DataType.Float));
        string integers = "f";
        if (hasZeroPoint)
        {
            model.Graph.Line("c = Sub(f, zero)");
            integers = "c";
        }

        model.Graph.Line(scaleFirst ? $"w = Mul(scale, {integers})" : $"w = Mul({integers}, scale)");
        model.Graph.Line("y = MatMul(x, w)");
        model.Graph.Outputs("y");
        return model;
    }
}
