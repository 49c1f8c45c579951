using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Generation;

namespace OrtQLoRA.Trainer.Tests.Generation;

[TestClass]
public sealed class TokenSamplerTests
{
    private static readonly float[] Logits = [MathF.Log(0.1f), MathF.Log(0.4f), MathF.Log(0.2f), MathF.Log(0.3f), float.NegativeInfinity];

    [TestMethod]
    public void Choose_NoTemperature_TakesTheLikeliestAndTheLowestOfEquals()
    {
        Assert.AreEqual(1, new TokenSampler(new GenerationOptions()).Choose(Logits));
        Assert.AreEqual(1, new TokenSampler(new GenerationOptions()).Choose([0, 2, 2]));
        Assert.AreEqual(1, new TokenSampler(new GenerationOptions { Temperature = 5, TopK = 1 }).Choose(Logits));
    }

    [TestMethod]
    [DataRow(1.0, 0, 1.0, new[] { 0.1, 0.4, 0.2, 0.3, 0 })]
    [DataRow(1.0, 2, 1.0, new[] { 0, 4 / 7.0, 0, 3 / 7.0, 0 })]
    [DataRow(1.0, 0, 0.69, new[] { 0, 4 / 7.0, 0, 3 / 7.0, 0 })]
    [DataRow(1.0, 0, 0.71, new[] { 0, 4 / 9.0, 2 / 9.0, 3 / 9.0, 0 })]
    [DataRow(1.0, 3, 0.5, new[] { 0, 4 / 7.0, 0, 3 / 7.0, 0 })]
    [DataRow(0.5, 0, 1.0, new[] { 1 / 30.0, 16 / 30.0, 4 / 30.0, 9 / 30.0, 0 })]
    public void Choose_ManyTimes_FollowsTheProbabilities(double temperature, int topK, double topP, double[] expected)
    {
        const int draws = 40000;
        TokenSampler sampler = new(new GenerationOptions { Temperature = temperature, TopK = topK, TopP = topP, Seed = 5 });
        int[] counts = new int[Logits.Length];
        for (int i = 0; i < draws; i++)
        {
            counts[sampler.Choose(Logits)]++;
        }

        for (int i = 0; i < counts.Length; i++)
        {
            // Four standard deviations of a binomial count.
            double tolerance = 4 * Math.Sqrt(expected[i] * (1 - expected[i]) / draws);
            Assert.AreEqual(expected[i], counts[i] / (double)draws, tolerance, $"token {i}");
        }
    }

    [TestMethod]
    [DataRow(float.NaN)]
    [DataRow(float.PositiveInfinity)]
    public void Choose_LogitsThatAreNoNumbers_IsRefused(float logit)
    {
        Assert.ThrowsExactly<GenerationException>(() => new TokenSampler(new GenerationOptions()).Choose([0, logit]));
    }

    [TestMethod]
    public void Choose_AllRuledOut_IsRefused()
    {
        Assert.ThrowsExactly<GenerationException>(() => new TokenSampler(new GenerationOptions()).Choose([float.NegativeInfinity]));
    }

    [TestMethod]
    public void Create_OptionsOutOfRange_ListsEach()
    {
        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(
            () => new TokenSampler(new GenerationOptions { MaxNewTokens = -1, Temperature = double.NaN, TopK = -1, TopP = 0 }));

        Assert.HasCount(4, e.Faults);
    }
}
