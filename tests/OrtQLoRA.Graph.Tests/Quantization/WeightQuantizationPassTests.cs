using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Quantization;

[TestClass]
public sealed class WeightQuantizationPassTests
{
    [TestMethod]
    [DataRow("model.onnx")]
    [DataRow("model.unfolded.onnx")]
    public void Run_PeftBase_GivesTheRecordedValuesScalesAndLogits(string file)
    {
        using SafetensorsFile expected = SafetensorsFile.Open(Fixtures.Require("peft/bases/llama-eetq/quantized.safetensors"));
        using SafetensorsFile probe = SafetensorsFile.Open(Fixtures.Require("peft/bases/llama-eetq/probe.safetensors"));
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require("peft/bases/llama/" + file));
        WeightQuantizationPass pass = new(new EetqInt8Format());

        Assert.IsTrue(pass.Run(model));

        LinearModule[] quantized = [.. LinearFinder.Find(model).Modules.Where(m => m.Storage == WeightStorage.DequantizeLinear)];
        CollectionAssert.AreEquivalent(
            expected.Tensors.Keys.Where(k => k.EndsWith(".q", StringComparison.Ordinal)).Select(k => k[..^2]).ToArray(), quantized.Select(m => m.Path).ToArray());
        foreach (LinearModule module in quantized)
        {
            TensorAssert.AreEqual(Transposed(expected[module.Path + ".q"]), module.Sites[0].Content, module.Path);
            float[] scale = module.Sites[0].WeightChain[0].Inputs[1]!.Initializer!.ToFloats();
            CollectionAssert.AreEqual(expected[module.Path + ".scale"].ToFloats(), scale, module.Path);
        }

        // The recorded run rounded q * scale to fp16; the fp32 graph does not.
        ITensor logits = Logits(model, probe);
        TensorAssert.AreClose(probe["logits_eetq_base"], logits, 5e-4);
        Assert.AreEqual(14, pass.Report.Layers.Count);
        Assert.IsTrue(pass.Report.Layers.All(l => l.Error.RelativeFrobenius is > 0.005 and < 0.007 && l.Error.LostColumns == 0));
        Assert.IsLessThan(pass.Report.OriginalBytes / 3.5, pass.Report.QuantizedBytes);
    }

    /// <summary>With the product rounded to fp16 as EETQ's kernels round it, nothing is left between the recorded run and this.</summary>
    [TestMethod]
    [DataRow("model.onnx", false)]
    [DataRow("model.unfolded.onnx", true)]
    public void Run_RoundedFormat_GivesTheRecordedLogitsAndStaysOnStandardOperators(string file, bool isNormalised)
    {
        using SafetensorsFile probe = SafetensorsFile.Open(Fixtures.Require("peft/bases/llama-eetq/probe.safetensors"));
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require("peft/bases/llama/" + file));
        if (isNormalised)
        {
            NormalisationPipeline.ForTraining().Run(model);
        }

        new WeightQuantizationPass(new EetqFp16Format()).Run(model);
        TensorAssert.AreClose(probe["logits_eetq_base"], Logits(model, probe), 2e-6);

        new NativeOperatorPass(Int8Compute.Fp32, []).Run(model);

        Assert.AreEqual(14, model.Graph.Nodes.Count(n => n.Is("DequantizeLinear")));
    }

    [TestMethod]
    public void Run_TwiceInARow_LeavesQuantizedLayersAlone()
    {
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require("models/aidreams260k.onnx"));
        new WeightQuantizationPass(new EetqInt8Format()).Run(model);

        Assert.IsFalse(new WeightQuantizationPass(new EetqInt8Format()).Run(model));
        Assert.IsTrue(LinearFinder.Find(model).Modules.Single(m => m.IsOutputHead).Storage == WeightStorage.Dense);
    }

    [TestMethod]
    public void Run_SharedLayers_QuantizesEachWeightOnce()
    {
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require("exports/ts14_albert_shared_layers/model.onnx"));
        using SafetensorsFile data = SafetensorsFile.Open(Fixtures.Require("exports/ts14_albert_shared_layers/data.safetensors"));
        Dictionary<string, ITensor> feeds = model.Graph.RequiredInputs.ToDictionary(i => i.Name, i => data["case0.input." + i.Name]);
        ITensor expected = OrtRunner.Run(model, feeds)["logits"];
        WeightQuantizationPass pass = new(new EetqInt8Format());

        pass.Run(model);

        Assert.HasCount(8, pass.Report.Layers);
        Assert.AreEqual(8, model.Graph.Nodes.Count(n => n.Is("DequantizeLinear")));
        TensorAssert.AreClose(expected, OrtRunner.Run(model, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL)["logits"], 0.05);
    }

    [TestMethod]
    [DataRow("MatMul", false)]
    [DataRow("Gemm", false)]
    [DataRow("MatMul", true)]
    [DataRow("Gemm", true)]
    public void Run_WeightOnEitherSideAndTransposed_KeepsTheProduct(string opType, bool isWeightLeft)
    {
        foreach (bool transposed in (bool[])[false, true])
        {
            OnnxModel model = new(new OnnxGraph("g")) { Opset = 21 };
            GraphBuilder builder = new(model.Graph, 21);
            Value x = model.Graph.AddInput("x", DataType.Float, Shape.Of(isWeightLeft ? [5, 3] : [3, 5]));
            Random random = new(1);
            float[] values = [.. Enumerable.Range(0, 5 * 7).Select(_ => (float)random.NextDouble() - 0.5f)];
            bool isOutByIn = isWeightLeft ^ transposed;
            Value weight = model.Graph.AddInitializer("w.weight", DenseTensor.Of(isOutByIn ? [7, 5] : [5, 7], values));
            Value read = transposed && opType == "MatMul" ? builder.Transpose(weight, 1, 0) : weight;
            Value?[] inputs = isWeightLeft ? [read, x] : [x, read];
            Value y = opType == "Gemm" ? builder.Op(opType, inputs, (isWeightLeft ? "transA" : "transB", transposed ? 1 : 0)) : builder.Op(opType, inputs);
            model.Graph.AddOutput(y);
            Dictionary<string, ITensor> feeds = new() { ["x"] = DenseTensor.Of([.. x.Shape!.ToArray()], [.. Enumerable.Range(0, 15).Select(i => i / 10f)]) };
            ITensor expected = OrtRunner.Run(model, feeds)[y.Name];

            new WeightQuantizationPass(new EetqInt8Format(), WeightQuantizationPass.CanQuantize).Run(model);

            Assert.IsFalse(model.Graph.Initializers.Any(i => i.Name == "w.weight"));
            TensorAssert.AreClose(expected, OrtRunner.Run(model, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL)[y.Name], 0.02, $"{opType}, left {isWeightLeft}, transposed {transposed}");
        }
    }

    [TestMethod]
    [DataRow(float.NaN)]
    [DataRow(float.PositiveInfinity)]
    public void Run_WeightThatIsNotFinite_IsRefusedByName(float value)
    {
        foreach (bool isOutByIn in (bool[])[false, true])
        {
            float[] values = new float[12];
            values[7] = value;
            WeightMatrix matrix = new("layers.3.fc.weight", DenseTensor.Of([3, 4], values), isOutByIn);

            ModelFormatException error = Assert.ThrowsExactly<ModelFormatException>(() => new EetqInt8Format().Quantize(matrix));

            StringAssert.Contains(error.Message, "layers.3.fc.weight");
            StringAssert.Contains(error.Message, "[1, 3]");
        }
    }

    [TestMethod]
    public void Quantize_MagnitudeBeyondFp16Scales_IsRefusedByName()
    {
        WeightMatrix matrix = new("w", DenseTensor.Of([1, 2], [1f, 1e7f]), isOutByIn: false);

        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => new EetqInt8Format().Quantize(matrix)).Message, "output feature 1");
    }

    [TestMethod]
    public void Quantize_ColumnsTooSmallForFp16_AreCountedAsLost()
    {
        WeightMatrix matrix = new("w", DenseTensor.Of([2, 3], [1f, 1e-7f, 0f, -1f, 1e-7f, 0f]), isOutByIn: false);

        QuantizationError error = new EetqInt8Format().Quantize(matrix).Error;

        Assert.AreEqual((1, 1, 1.0), (error.LostColumns, error.WorstColumn, error.WorstColumnRelative));
    }

    [TestMethod]
    public void Quantize_EitherOrientation_GivesTheSame()
    {
        Random random = new(3);
        float[] byRow = [.. Enumerable.Range(0, 130 * 70).Select(_ => (float)random.NextDouble() - 0.5f)];
        float[] transposed = new float[byRow.Length];
        for (int i = 0; i < byRow.Length; i++)
        {
            transposed[((i % 70) * 130) + (i / 70)] = byRow[i];
        }

        EetqWeight a = EetqInt8Format.QuantizeToPlain(new WeightMatrix("a", DenseTensor.Of([130, 70], byRow), isOutByIn: false));
        EetqWeight b = EetqInt8Format.QuantizeToPlain(new WeightMatrix("b", DenseTensor.Of([70, 130], transposed), isOutByIn: true));

        CollectionAssert.AreEqual(a.Quantized.ToArray(), b.Quantized.ToArray());
        CollectionAssert.AreEqual(a.Scales.ToArray(), b.Scales.ToArray());
        Assert.AreEqual(a.Error.RelativeFrobenius, b.Error.RelativeFrobenius, 1e-12);
    }

    [TestMethod]
    public void Get_UnknownFormat_ListsTheKnown() =>
        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => WeightFormatRegistry.Default.Get("nf3")).Message, "eetq");

    private static ITensor Logits(OnnxModel model, SafetensorsFile probe)
    {
        Dictionary<string, ITensor> feeds = new() { ["input_ids"] = probe["input_ids"], ["attention_mask"] = probe["attention_mask"] };
        return OrtRunner.Run(model, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL)["logits"];
    }

    // The graph holds one output feature a row; the recorded values are [K, N].
    private static DenseTensor Transposed(ITensor matrix)
    {
        (int rows, int columns) = ((int)matrix.Dims[0], (int)matrix.Dims[1]);
        byte[] values = matrix.ToBytes();
        return new DenseTensor(DataType.Int8, [columns, rows], Enumerable.Range(0, values.Length).Select(i => values[(i % rows * columns) + (i / rows)]).ToArray());
    }
}
