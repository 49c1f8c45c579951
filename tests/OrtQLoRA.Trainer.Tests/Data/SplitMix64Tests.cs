using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Tests.Data;

[TestClass]
public sealed class SplitMix64Tests
{
    [TestMethod]
    public void Next_SeedOfThePublishedVectors_GivesThem()
    {
        SplitMix64 generator = new(1234567);

        CollectionAssert.AreEqual(
            new[] { 6457827717110365317UL, 3203168211198807973UL, 9817491932198370423UL, 4593380528125082431UL, 16408922859458223821UL },
            Enumerable.Range(0, 5).Select(_ => generator.Next()).ToArray());
    }

    [TestMethod]
    public void Shuffle_AnySeed_IsAPermutation()
    {
        for (ulong seed = 0; seed < 50; seed++)
        {
            int[] numbers = [.. Enumerable.Range(0, 37)];
            new SplitMix64(seed).Shuffle(numbers.AsSpan());

            CollectionAssert.AreEquivalent(Enumerable.Range(0, 37).ToArray(), numbers);
        }
    }

    [TestMethod]
    public void Below_ManyDraws_AreSpreadEvenly()
    {
        SplitMix64 generator = new(7);
        int[] counts = new int[6];
        for (int i = 0; i < 60000; i++)
        {
            counts[generator.Below(6)]++;
        }

        Assert.IsTrue(counts.All(c => c is > 9500 and < 10500), string.Join(", ", counts));
    }
}
