using OrtQLoRA.Trainer.Schedules;

namespace OrtQLoRA.Trainer.Tests.Schedules;

[TestClass]
public sealed class WarmupScheduleTests
{
    [TestMethod]
    public void At_WarmUp_StartsAtZero()
    {
        WarmupSchedule schedule = new(ScheduleKind.Constant, 0.4, 4, 12);

        CollectionAssert.AreEqual(new[] { 0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.4 }, Enumerable.Range(1, 6).Select(s => schedule.At(s)).ToArray());
    }

    [TestMethod]
    [DataRow(0L)]
    [DataRow(3L)]
    public void At_Cosine_FollowsTheFormula(long warmup)
    {
        WarmupSchedule schedule = new(ScheduleKind.Cosine, 0.01, warmup, 12);
        for (long step = warmup + 1; step <= 12; step++)
        {
            Assert.AreEqual(0.01 * 0.5 * (1 + Math.Cos(Math.PI * (step - 1 - warmup) / (12 - warmup))), schedule.At(step), 1e-15);
        }
    }

    [TestMethod]
    [DataRow(0L)]
    [DataRow(3L)]
    public void At_Linear_FollowsTheFormula(long warmup)
    {
        WarmupSchedule schedule = new(ScheduleKind.Linear, 0.01, warmup, 12);
        for (long step = warmup + 1; step <= 12; step++)
        {
            Assert.AreEqual(0.01 * (12 - (step - 1)) / (12 - warmup), schedule.At(step), 1e-15);
        }
    }

    [TestMethod]
    [DataRow(ScheduleKind.Linear)]
    [DataRow(ScheduleKind.Cosine)]
    public void At_BeyondTheEnd_StaysAtZero(ScheduleKind kind)
    {
        WarmupSchedule schedule = new(kind, 0.01, 0, 5);

        Assert.AreEqual(0, schedule.At(6), 1e-18);
        Assert.AreEqual(0, schedule.At(60), 1e-18);
    }

    [TestMethod]
    public void At_WarmUpLongerThanRun_NeverDividesByZero() => Assert.AreEqual(0.01, new WarmupSchedule(ScheduleKind.Cosine, 0.01, 5, 5).At(6), 1e-15);
}
