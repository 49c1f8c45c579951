using OrtQLoRA.Trainer.Schedules;

namespace OrtQLoRA.Trainer.Tests.Schedules;

/// <summary>Rates of the first twenty steps beside those that the formulas of Transformers' schedulers give.</summary>
[TestClass]
public sealed class ScheduleReferenceTests
{
    public static IEnumerable<object[]> References =>
    [
        [
            new ScheduleSettings { Kind = ScheduleKind.CosineWithRestarts, LearningRate = 0.01, WarmupSteps = 3, TotalSteps = 20, Cycles = 3 },
            new[]
            {
                0, 0.003333333333, 0.006666666667, 0.01, 0.009251085679, 0.007228691779, 0.004538658203, 0.001986826818, 0.000337638853, 0.009914865498,
                0.008695044586, 0.00636831495, 0.00363168505, 0.001304955414, 8.5134502e-05, 0.009662361147, 0.008013173182, 0.005461341797, 0.002771308221, 0.000748914321,
            },
        ],
        [
            new ScheduleSettings { Kind = ScheduleKind.Polynomial, LearningRate = 0.01, WarmupSteps = 3, TotalSteps = 20, Power = 2, MinLearningRate = 1e-5 },
            new[]
            {
                0, 0.003333333333, 0.006666666667, 0.01, 0.008859273356, 0.007787681661, 0.006785224913, 0.005851903114, 0.004987716263, 0.00419266436,
                0.003466747405, 0.002809965398, 0.002222318339, 0.001703806228, 0.001254429066, 0.000874186851, 0.000563079585, 0.000321107266, 0.000148269896, 4.4567474e-05,
            },
        ],
        [
            new ScheduleSettings { Kind = ScheduleKind.InverseSqrt, LearningRate = 0.01, WarmupSteps = 4, TotalSteps = 20 },
            new[]
            {
                0, 0.0025, 0.005, 0.0075, 0.01, 0.00894427191, 0.008164965809, 0.00755928946, 0.007071067812, 0.006666666667,
                0.00632455532, 0.006030226892, 0.005773502692, 0.005547001962, 0.005345224838, 0.005163977795, 0.005, 0.004850712501, 0.004714045208, 0.004588314677,
            },
        ],
        [
            new ScheduleSettings { Kind = ScheduleKind.InverseSqrt, LearningRate = 0.01, TotalSteps = 20 },
            new[] { 0.01, 0.009999500037, 0.00999900015, 0.009998500337, 0.0099980006 },
        ],
        [
            new ScheduleSettings { Kind = ScheduleKind.Wsd, LearningRate = 0.01, WarmupSteps = 3, TotalSteps = 20, DecaySteps = 6, MinLearningRate = 0.001 },
            new[] { 0, 0.003333333333, 0.006666666667, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.009397114317, 0.00775, 0.0055, 0.00325, 0.001602885683 },
        ],
        [
            new ScheduleSettings { Kind = ScheduleKind.Wsd, LearningRate = 0.01, WarmupSteps = 3, TotalSteps = 20, DecaySteps = 6, Decay = DecayKind.Linear },
            new[] { 0, 0.003333333333, 0.006666666667, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.008333333333, 0.006666666667, 0.005, 0.003333333333, 0.001666666667 },
        ],
        [
            new ScheduleSettings { Kind = ScheduleKind.Wsd, LearningRate = 0.01, WarmupSteps = 3, TotalSteps = 20, DecaySteps = 6, Decay = DecayKind.OneMinusSqrt },
            new[] { 0, 0.003333333333, 0.006666666667, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.005917517095, 0.004226497308, 0.002928932188, 0.001835034191, 0.000871290708 },
        ],
    ];

    [TestMethod]
    [DynamicData(nameof(References))]
    public void At_EachStep_IsTransformersRate(ScheduleSettings settings, double[] expected)
    {
        WarmupSchedule schedule = new(settings);

        for (int i = 0; i < expected.Length; i++)
        {
            Assert.AreEqual(expected[i], schedule.At(i + 1), 1e-12, $"{settings.Kind}, step {i + 1}");
        }
    }
}
