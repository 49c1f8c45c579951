using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Quantization.Sensitivity;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Quantization.Sensitivity;

[TestClass]
public sealed class SensitivityAnalysisTests
{
    /// <summary>Inputs that are the unit vectors: outputs are the weight itself, so both errors are one.</summary>
    [TestMethod]
    [DataRow("model.onnx")]
    [DataRow("model.unfolded.onnx")]
    public void Measure_UnitInputs_OutputErrorIsTheWeights(string file)
    {
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require("peft/bases/llama/" + file));
        LinearModule module = LinearFinder.Find(model).Find("model.layers.0.mlp.down_proj")!;

        LayerSensitivity layer = SensitivityAnalysis.Measure(module, new EetqInt8Format(), [Matrix.Identity(160)], 64);

        Assert.AreEqual(layer.Weight.RelativeFrobenius, layer.OutputError!.Value, 1e-6);
        Assert.AreEqual(layer.Error * layer.Error, layer.RankGains.Sum(), 1e-4 * layer.Error * layer.Error);
        CollectionAssert.AreEqual(layer.RankGains.OrderDescending().ToArray(), layer.RankGains.ToArray());
    }

    /// <summary>What the gains promise is what an adapter from the error's decomposition leaves.</summary>
    [TestMethod]
    public void Measure_Inputs_GainsAreWhatTheBestAdapterMakesUpFor()
    {
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require("peft/bases/llama/model.onnx"));
        LinearModule module = LinearFinder.Find(model).Find("model.layers.1.self_attn.k_proj")!;
        ReproducibleRandom random = new(3, "inputs");
        Matrix first = Gaussian(random, 40, 64);
        Matrix second = Gaussian(random, 24, 64);
        const int Rank = 5;

        LayerSensitivity layer = SensitivityAnalysis.Measure(module, new EetqInt8Format(), [first, second], Rank);

        Matrix x = new(64, 64, [.. first.Values, .. second.Values]);
        Matrix weight = BasePreparation.Weight(module);
        Matrix dequantized = new(32, 64);
        new EetqInt8Format().Quantize(new Graph.Quantization.WeightMatrix("w", weight.ToTensor(), isOutByIn: true)).DequantizeColumns(0, dequantized.Values);
        Matrix error = x.Multiply(weight.Transpose());
        double norm = Square(error);
        error.Add(x.Multiply(dequantized.Transpose()), -1);
        double whole = Square(error) / norm;
        (Matrix u, float[] s, Matrix vt) = Decompositions.Svd(error, Rank);
        u.ScaleColumns(s);
        error.Add(u.Multiply(vt), -1);
        Assert.AreEqual(whole, layer.OutputError!.Value * layer.OutputError.Value, 1e-5 * whole);
        Assert.AreEqual(whole - (Square(error) / norm), layer.RankGains.Sum(), 0.02 * whole);
    }

    private static Matrix Gaussian(ReproducibleRandom random, int rows, int columns)
    {
        Matrix matrix = new(rows, columns);
        random.FillGaussian(matrix.Values, 1);
        return matrix;
    }

    private static double Square(Matrix matrix) => matrix.RowNorms().Sum(n => (double)n * n);
}
