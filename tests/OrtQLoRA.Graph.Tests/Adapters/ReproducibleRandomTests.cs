using System.Globalization;
using OrtQLoRA.Graph.Adapters;

namespace OrtQLoRA.Graph.Tests.Adapters;

[TestClass]
public sealed class ReproducibleRandomTests
{
    [TestMethod]
    public void FillGaussian_ManyNumbers_HaveTheMomentsOfTheNormalDistribution()
    {
        float[] values = new float[200_000];
        new ReproducibleRandom(1, "test").FillGaussian(values, 2);

        double mean = values.Average();
        double variance = values.Average(v => (v - mean) * (v - mean));
        double kurtosis = values.Average(v => Math.Pow(v - mean, 4)) / (variance * variance);

        Assert.AreEqual(0, mean, 0.02);
        Assert.AreEqual(4, variance, 0.04);
        Assert.AreEqual(3, kurtosis, 0.1);
    }

    [TestMethod]
    [DataRow(0.5, 0.0)]
    [DataRow(0.975, 1.959963984540054)]
    [DataRow(0.001, -3.090232306167813)]
    [DataRow(1e-12, -7.034483825301131)]
    public void InverseNormal_KnownQuantiles_AreGivenToSevenDigits(double p, double expected) =>
        Assert.AreEqual(expected, ReproducibleRandom.InverseNormal(p), 1e-6 * Math.Max(1, Math.Abs(expected)));

    [TestMethod]
    public void NextGaussian_FixedSeed_GivesFixedNumbers()
    {
        // These bits must be the same on every machine and for ever: adapters are reproduced from their seeds.
        ReproducibleRandom random = new(42, "model.layers.0.self_attn.q_proj.lora_A.weight");
        float[] first = new float[3];
        random.FillGaussian(first, 1);

        ReproducibleRandom again = new(42, "model.layers.0.self_attn.q_proj.lora_A.weight");
        float[] second = new float[3];
        again.FillGaussian(second, 1);

        CollectionAssert.AreEqual(second, first);
        Assert.AreEqual("3fc71c78 3df0cfd1 bed16dde", string.Join(" ", first.Select(v => BitConverter.SingleToInt32Bits(v).ToString("x8", CultureInfo.InvariantCulture))));
    }

    [TestMethod]
    public void NextUniform_OtherPurposeOrSeed_GivesAnotherSequence()
    {
        double value = new ReproducibleRandom(1, "a").NextUniform();

        Assert.AreNotEqual(value, new ReproducibleRandom(1, "b").NextUniform());
        Assert.AreNotEqual(value, new ReproducibleRandom(2, "a").NextUniform());
    }
}
