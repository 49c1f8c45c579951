using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class IntegerProductPassTests
{
    private static readonly Dictionary<string, ITensor> Feeds = new() { ["x"] = DenseTensor.Of([1, 2, 4], [1f, -2, 3, 0.5f, 0, 1, -1, 2]) };

    [TestMethod]
    [DataRow("MatMulInteger", true)]
    [DataRow("MatMulInteger", false)]
    [DataRow("MatMulIntegerToFloat", true)]
    [DataRow("MatMulIntegerToFloat", false)]
    [DataRow("DynamicQuantizeMatMul", true)]
    [DataRow("DynamicQuantizeMatMul", false)]
    public void ForTraining_ProductOfIntegers_BecomesAPlainProductOfWhatTheyStandFor(string form, bool perColumn)
    {
        OnnxModel model = Model(form, perColumn);
        ITensor expected = OrtRunner.Run(model, Feeds)["y"];
        LinearModule original = LinearFinder.Find(model).Modules.Single();
        Assert.AreEqual(WeightStorage.IntegerProduct, original.Storage);

        NormalisationPipeline.ForTraining(v => v.ElementType == DataType.Float).Run(model);

        LinearModule module = LinearFinder.Find(model).Modules.Single();
        Assert.AreEqual(WeightStorage.DequantizeLinear, module.Storage);
        Assert.AreEqual(original.Path, module.Path);
        Assert.AreEqual("y", model.Graph.Outputs.Single().Name);
        TensorAssert.AreClose(expected, OrtRunner.Run(model, Feeds)["y"], 1e-6);
    }

    [TestMethod]
    public void Run_ProductOfTwoActivations_DequantizesBoth()
    {
        OnnxModel model = GraphText.Model();
        model.Graph.Input("x", DataType.Float, 1, 2, 4);
        model.Graph.Line("t = Transpose(x)", ("perm", (long[])[0, 2, 1]));
        Quantize(model.Graph, "x");
        Quantize(model.Graph, "t");
        model.Graph.Line("s = Mul(t_scale, x_scale)");
        model.Graph.Line("i = MatMulInteger(x_q, t_q, x_zero, t_zero)");
        model.Graph.Line("f = Cast(i)", ("to", (long)DataType.Float));
        model.Graph.Line("y = Mul(f, s)");
        model.Graph.Outputs("y");
        ITensor expected = OrtRunner.Run(model, Feeds)["y"];

        Assert.IsTrue(new IntegerProductPass().Run(model));

        Assert.IsFalse(model.Graph.Nodes.Any(n => n.OpType is "MatMulInteger" or "Cast" or "Mul"));
        TensorAssert.AreClose(expected, OrtRunner.Run(model, Feeds)["y"], 1e-6);
    }

    [TestMethod]
    public void Run_ConvolutionOfIntegers_BecomesAConvolution()
    {
        OnnxModel model = GraphText.Model();
        model.Graph.Input("x", DataType.Float, 1, 2, 4);
        model.Graph.AddInitializer("w", DenseTensor.Of([3, 2, 2], (sbyte[])[1, -2, 3, 4, 5, -6, 7, 8, -9, 10, 11, 12]));
        model.Graph.AddInitializer("w_scale", DenseTensor.Scalar(0.1f));
        Quantize(model.Graph, "x");
        model.Graph.Line("s = Mul(x_scale, w_scale)");
        model.Graph.Line("i = ConvInteger(x_q, w, x_zero)", ("strides", (long[])[2]), ("pads", (long[])[1, 1]));
        model.Graph.Line("f = Cast(i)", ("to", (long)DataType.Float));
        model.Graph.Line("y = Mul(f, s)");
        model.Graph.Outputs("y");
        ITensor expected = OrtRunner.Run(model, Feeds)["y"];

        Assert.IsTrue(new IntegerProductPass().Run(model));

        TensorAssert.AreClose(expected, OrtRunner.Run(model, Feeds)["y"], 1e-6);
    }

    [TestMethod]
    public void Run_ResultThatNoScaleBringsBack_Stays()
    {
        OnnxModel model = GraphText.Model();
        model.Graph.Input("x", DataType.Float, 1, 2, 4);
        model.Graph.AddInitializer("w", DenseTensor.Of([4, 3], new sbyte[12]));
        Quantize(model.Graph, "x");
        model.Graph.Line("y = MatMulInteger(x_q, w, x_zero)");
        model.Graph.Outputs("y");

        Assert.IsFalse(new IntegerProductPass().Run(model));
        Assert.IsEmpty(LinearFinder.Find(model).Modules);
    }

    private static OnnxModel Model(string form, bool perColumn)
    {
        OnnxModel model = GraphText.Model();
        OnnxGraph graph = model.Graph;
        model.OpsetImports[OperatorDomains.Microsoft] = 1;
        graph.Input("x", DataType.Float, 1, 2, 4);
        graph.AddInitializer("fc.weight_quantized", DenseTensor.Of([4, 3], (sbyte[])[1, -2, 3, 4, 5, -6, 7, 8, -9, 10, 11, 12]));
        graph.AddInitializer("w_scale", perColumn ? DenseTensor.Vector(0.1f, 0.2f, 0.3f) : DenseTensor.Vector(0.1f));
        graph.AddInitializer("w_zero", perColumn ? DenseTensor.Vector<sbyte>(0, 0, 0) : DenseTensor.Scalar((sbyte)2));
        graph.AddInitializer("bias", DenseTensor.Vector(1f, 2, 3));
        if (form == "DynamicQuantizeMatMul")
        {
            graph.Line("y = com.microsoft::DynamicQuantizeMatMul(x, fc.weight_quantized, w_scale, w_zero, bias)");
        }
        else
        {
            Quantize(graph, "x");
            if (form == "MatMulIntegerToFloat")
            {
                graph.Line("y = com.microsoft::MatMulIntegerToFloat(x_q, fc.weight_quantized, x_scale, w_scale, x_zero, w_zero, bias)");
            }
            else
            {
                graph.Line("s = Mul(x_scale, w_scale)");
                graph.Line("i = MatMulInteger(x_q, fc.weight_quantized, x_zero, w_zero)");
                graph.Line("f = Cast(i)", ("to", (long)DataType.Float));
                graph.Line("p = Mul(f, s)");
                graph.Line("y = Add(p, bias)");
            }
        }

        graph.Outputs("y");
        return model;
    }

    private static void Quantize(OnnxGraph graph, string value) => graph.Line($"{value}_q, {value}_scale, {value}_zero = DynamicQuantizeLinear({value})");
}
