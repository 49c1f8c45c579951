using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Tests.Engines;

[TestClass]
public sealed class LossScalerTests
{
    [TestMethod]
    public void Succeed_ForTwoThousandSteps_DoublesTheScale()
    {
        LossScaler scaler = new();
        double first = scaler.Scale;

        for (int step = 0; step < 1999; step++)
        {
            scaler.Succeed();
        }

        Assert.AreEqual(first, scaler.Scale);
        scaler.Succeed();
        Assert.AreEqual(2 * first, scaler.Scale);
    }

    [TestMethod]
    public void Reduce_Overflow_HalvesTheScaleAndStartsCountingAnew()
    {
        LossScaler scaler = new();
        double first = scaler.Scale;
        scaler.Succeed();

        Assert.IsTrue(scaler.Reduce());

        Assert.AreEqual(first / 2, scaler.Scale);
        Assert.AreEqual(0, scaler.GoodSteps);
    }

    [TestMethod]
    public void Reduce_AtScaleOne_SaysThatItIsOfNoUse()
    {
        LossScaler scaler = new();
        int halvings = 0;
        while (scaler.Reduce())
        {
            halvings++;
        }

        Assert.AreEqual(16, halvings);
        Assert.AreEqual(1, scaler.Scale);
    }

    [TestMethod]
    public void Restore_SavedState_GoesOnFromIt()
    {
        LossScaler scaler = new();

        scaler.Restore(256, 1999);
        scaler.Succeed();

        Assert.AreEqual(512, scaler.Scale);
        Assert.AreEqual(0, scaler.GoodSteps);
    }
}
