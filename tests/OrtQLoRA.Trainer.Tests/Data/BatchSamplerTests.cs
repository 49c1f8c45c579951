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

    [TestMethod]
    [DataRow(8, false)]
    [DataRow(8, true)]
    [DataRow(null, true)]
    public void Windows_WithBufferOrGroups_TakesEachExampleOnceAndRepeats(int? buffer, bool groups)
    {
        BatchSampler sampler = new(203, 4, 2, 42) { ShuffleBuffer = buffer, LengthOf = groups ? i => i * 37 % 50 : null };
        int[] Order(long epoch) => [.. sampler.Windows(epoch).SelectMany(w => w).SelectMany(b => b)];

        CollectionAssert.AreEquivalent(Enumerable.Range(0, 203).ToArray(), Order(0));
        CollectionAssert.AreEqual(Order(0), Order(0));
        CollectionAssert.AreNotEqual(Order(0), Order(1));
        Assert.AreEqual(sampler.StepsPerEpoch, sampler.Windows(0).LongCount());
    }

    [TestMethod]
    public void Windows_WithBuffer_DrawsFromTheBufferOnly()
    {
        BatchSampler sampler = new(1000, 1, 1, 42) { ShuffleBuffer = 10 };
        int place = 0;
        foreach (int index in sampler.Windows(0).SelectMany(w => w).SelectMany(b => b))
        {
            Assert.IsLessThan(10, index - place++);
        }
    }

    [TestMethod]
    public void Windows_GroupedByLength_PadsLess()
    {
        int Padding(BatchSampler sampler) => sampler.Windows(0).SelectMany(w => w).Sum(b => (b.Max(Length) * b.Length) - b.Sum(Length));
        int Length(int i) => 1 + (i * 7919 % 100);

        Assert.IsLessThan(Padding(new BatchSampler(400, 8, 1, 42)) / 4, Padding(new BatchSampler(400, 8, 1, 42) { LengthOf = Length }));
    }
}
