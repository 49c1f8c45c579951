using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Tests.Data;

[TestClass]
public sealed class BatchSamplerTests
{
    [TestMethod]
    public void Windows_WithoutShuffle_KeepsFileOrder()
    {
        BatchSampler sampler = new(7, 2, 3, null);
        int[][][] windows = [.. sampler.Windows(1).Select(w => w.ToArray())];

        Assert.HasCount(2, windows);
        Assert.AreEqual(2, sampler.StepsPerEpoch);
        CollectionAssert.AreEqual(Enumerable.Range(0, 7).ToArray(), windows.SelectMany(w => w).SelectMany(b => b).ToArray());
        CollectionAssert.AreEqual(new[] { 6 }, windows[1][0]);
    }

    [TestMethod]
    public void Windows_Shuffled_TakesEachExampleOnceAndDiffersByEpoch()
    {
        BatchSampler sampler = new(50, 4, 1, 42);
        int[] first = [.. sampler.Windows(0).SelectMany(w => w).SelectMany(b => b)];
        int[] second = [.. sampler.Windows(1).SelectMany(w => w).SelectMany(b => b)];

        CollectionAssert.AreEquivalent(Enumerable.Range(0, 50).ToArray(), first);
        CollectionAssert.AreNotEqual(first, second);
        CollectionAssert.AreEqual(first, new BatchSampler(50, 4, 1, 42).Windows(0).SelectMany(w => w).SelectMany(b => b).ToArray());
    }
}
