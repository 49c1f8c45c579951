using Microsoft.VisualStudio.TestTools.UnitTesting;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.TestKit.Conformance;

/// <summary>What an engine made of a <see cref="ConformanceCase"/>.</summary>
/// <param name="Losses">Loss of each micro-batch.</param>
/// <param name="EvalBefore">Eval loss before the first step.</param>
/// <param name="EvalAfter">Eval loss after the last.</param>
/// <param name="Parameters">Final values by name.</param>
public sealed record ConformanceRun(
    IReadOnlyList<double> Losses, double EvalBefore, double EvalAfter, IReadOnlyDictionary<string, float[]> Parameters)
{
    /// <summary>Trains with an engine.</summary>
    /// <param name="engine">The engine.</param>
    /// <param name="batches">Micro-batches, then the one to evaluate on.</param>
    public static ConformanceRun Of(ITrainingEngine engine, IReadOnlyList<IReadOnlyDictionary<string, DenseTensor>> batches)
    {
        ArgumentNullException.ThrowIfNull(engine);
        ArgumentNullException.ThrowIfNull(batches);
        double before = engine.EvalStep(batches[^1]).Loss;
        List<double> losses = [];
        engine.LearningRate = ConformanceCase.LearningRate;
        for (int i = 0; i < batches.Count - 1; i++)
        {
            losses.Add(engine.TrainStep(batches[i], 1.0 / ConformanceCase.Accumulation));
            if ((i + 1) % ConformanceCase.Accumulation == 0)
            {
                engine.OptimizerStep();
                engine.LazyResetGrad();
            }
        }

        return new ConformanceRun(
            losses, before, engine.EvalStep(batches[^1]).Loss, engine.Parameters.ToDictionary(p => p.Name, p => engine.GetParameter(p.Name).ToFloats()));
    }

    /// <summary>Asserts that two runs agree: losses within 1e-4 relative, parameters within 1e-3 relative L2.</summary>
    public static void AssertAgree(ConformanceRun expected, ConformanceRun actual)
    {
        ArgumentNullException.ThrowIfNull(expected);
        ArgumentNullException.ThrowIfNull(actual);
        const double lossTolerance = 1e-4;
        const double parameterTolerance = 1e-3;
        Assert.HasCount(expected.Losses.Count, actual.Losses.ToArray());
        (string Name, double Expected, double Actual)[] losses =
        [
            ("eval before", expected.EvalBefore, actual.EvalBefore),
            .. expected.Losses.Select((l, i) => ($"micro-batch {i}", l, actual.Losses[i])),
            ("eval after", expected.EvalAfter, actual.EvalAfter),
        ];
        foreach ((string name, double left, double right) in losses)
        {
            Assert.IsLessThanOrEqualTo(lossTolerance * Math.Abs(left), Math.Abs(left - right), $"loss of {name}: {right} beside {left}");
        }

        CollectionAssert.AreEquivalent(expected.Parameters.Keys.ToArray(), actual.Parameters.Keys.ToArray());
        double difference = 0;
        double size = 0;
        foreach ((string name, float[] values) in expected.Parameters)
        {
            difference += values.Zip(actual.Parameters[name], (l, r) => Math.Pow(l - (double)r, 2)).Sum();
            size += values.Sum(v => (double)v * v);
        }

        Assert.IsLessThanOrEqualTo(parameterTolerance * Math.Sqrt(size), Math.Sqrt(difference), $"parameters differ by {Math.Sqrt(difference / size)} relative L2");
    }
}
