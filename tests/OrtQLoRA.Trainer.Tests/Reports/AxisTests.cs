using OrtQLoRA.Trainer.Reports;

namespace OrtQLoRA.Trainer.Tests.Reports;

[TestClass]
public sealed class AxisTests
{
    /// <summary>A loss beside its own average differs by rounding; ticks of such a step do not move a double.</summary>
    [TestMethod]
    [DataRow(14.829206466674805)]
    [DataRow(-3e8)]
    [DataRow(2e-4)]
    public void Ticks_ValuesThatDifferByRounding_AreFew(double value)
    {
        Axis axis = Axis.Of(value, Math.BitIncrement(value)).Rounded();

        double[] ticks = [.. axis.Ticks(5).Take(100)];

        Assert.IsInRange(2, 15, ticks.Length);
        Assert.IsTrue(axis.Low < value && value < axis.High);
    }

    [TestMethod]
    public void Ticks_OrdinaryRange_AreRoundAndWithinIt()
    {
        CollectionAssert.AreEqual(new[] { 0.0, 2, 4, 6, 8, 10 }, Axis.Of(0, 10).Ticks(5).ToArray());
    }

    [TestMethod]
    public void Of_RangeWithoutExtent_IsWidened()
    {
        Axis axis = Axis.Of(0, 0);

        Assert.IsTrue(axis.Low < 0 && axis.High > 0);
        Assert.AreEqual(0.5, axis.Share(0), 1e-12);
    }
}
