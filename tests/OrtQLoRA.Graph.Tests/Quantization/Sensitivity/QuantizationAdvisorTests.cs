using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Sensitivity;

namespace OrtQLoRA.Graph.Tests.Quantization.Sensitivity;

[TestClass]
public sealed class QuantizationAdvisorTests
{
    [TestMethod]
    public void Advise_OneLayerFarAboveTheOthers_IsKept()
    {
        LayerSensitivity[] layers = [Layer("a", 0.006), Layer("b", 0.007), Layer("c", 0.05), Layer("d", 0.0065)];

        QuantizationAdvice advice = QuantizationAdvisor.Advise(layers, _ => true, 4, null);

        CollectionAssert.AreEqual(new[] { "c" }, advice.Kept.ToArray());
        Assert.AreEqual(100 - 50, advice.BytesOfKept);
    }

    [TestMethod]
    public void Advise_OutputsTellMoreThanWeights()
    {
        LayerSensitivity[] layers = [Layer("a", 0.006), Layer("b", 0.006) with { OutputError = 0.2 }, Layer("c", 0.1) with { OutputError = 0.004 }];

        QuantizationAdvice advice = QuantizationAdvisor.Advise(layers, _ => true, 4, 0.05);

        CollectionAssert.AreEqual(new[] { "b" }, advice.Kept.ToArray());
        Assert.AreEqual(0.05, advice.ErrorLimit);
    }

    [TestMethod]
    public void Advise_LostOutputFeatures_KeepsTheLayerWhateverItsError()
    {
        LayerSensitivity lossy = Layer("b", 0.001) with { Weight = new QuantizationError(0.001, 3, 1, 1) };

        QuantizationAdvice advice = QuantizationAdvisor.Advise([Layer("a", 0.006), lossy], _ => true, 4, 0.5);

        CollectionAssert.AreEqual(new[] { "b" }, advice.Kept.ToArray());
    }

    [TestMethod]
    public void Advise_ErrorInOneLayer_MovesRanksThereWithinTheBudget()
    {
        LayerSensitivity[] layers = [Layer("a", 0.01, 1e-4), Layer("b", 0.01, 1e-7), Layer("c", 0.01, 1e-7)];

        QuantizationAdvice advice = QuantizationAdvisor.Advise(layers, _ => true, 4, null);

        Assert.AreEqual(8, advice.Ranks["a"]);
        Assert.IsTrue(advice.Ranks.Where(r => r.Key != "a").All(r => r.Value < 4 && r.Value >= 2));
        Assert.IsGreaterThan(advice.RecoveredByOneRank, advice.RecoveredByRanks);
        Assert.IsLessThanOrEqualTo(4 * 3, layers.Sum(l => advice.Ranks.GetValueOrDefault(l.ModulePath, 4)));
    }

    [TestMethod]
    public void Advise_EqualLayers_KeepOneRank() =>
        Assert.IsEmpty(QuantizationAdvisor.Advise([Layer("a", 0.01), Layer("b", 0.01), Layer("c", 0.0101)], _ => true, 4, null).Ranks);

    [TestMethod]
    public void Advise_LayersWithoutAdapter_GetNoRank() =>
        Assert.IsFalse(QuantizationAdvisor.Advise([Layer("a", 0.01, 1e-4), Layer("b", 0.01, 1e-7)], path => path == "b", 4, null).Ranks.ContainsKey("a"));

    // A spectrum that falls slowly, as that of rounding errors does.
    private static LayerSensitivity Layer(string path, double error, double? firstGain = null) => new(path, 64, 64, 100, 50, new QuantizationError(error, 0, error, 0))
    {
        RankGains = [.. Enumerable.Range(0, 8).Select(i => (firstGain ?? (error * error / 64)) * Math.Pow(0.95, i))],
    };
}
