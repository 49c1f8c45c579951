namespace OrtQLoRA.Trainer.Schedules;

/// <summary>
/// Constant, linear or cosine learning rate after a linear warm-up, as the schedulers of Hugging Face's Transformers.
/// With t = step - 1, w warm-up steps and T steps in all: t &lt; w gives <c>lr * t / w</c>, so that the first step of a
/// warm-up has rate 0; then linear is <c>lr * (T - t) / (T - w)</c> and cosine <c>lr * 0.5 * (1 + cos(pi * (t - w) / (T - w)))</c>.
/// </summary>
public sealed class WarmupSchedule : ILearningRateSchedule
{
    private readonly ScheduleKind _kind;
    private readonly double _learningRate;
    private readonly long _warmupSteps;
    private readonly long _totalSteps;

    /// <summary>Creates a schedule.</summary>
    /// <param name="kind">Course after warm-up.</param>
    /// <param name="learningRate">Peak learning rate.</param>
    /// <param name="warmupSteps">Steps over which the rate rises from 0; 0 for none.</param>
    /// <param name="totalSteps">Steps of the whole run, warm-up included.</param>
    /// <exception cref="ArgumentOutOfRangeException">A count is negative.</exception>
    public WarmupSchedule(ScheduleKind kind, double learningRate, long warmupSteps, long totalSteps)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(warmupSteps);
        ArgumentOutOfRangeException.ThrowIfNegative(totalSteps);
        _kind = kind;
        _learningRate = learningRate;
        _warmupSteps = warmupSteps;
        _totalSteps = totalSteps;
    }

    /// <inheritdoc/>
    public double At(long step)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(step, 1);
        long t = step - 1;
        if (t < _warmupSteps)
        {
            return _learningRate * t / _warmupSteps;
        }

        double span = Math.Max(1, _totalSteps - _warmupSteps);
        return _kind switch
        {
            ScheduleKind.Constant => _learningRate,
            ScheduleKind.Linear => _learningRate * Math.Max(0, _totalSteps - t) / span,
            _ => _learningRate * Math.Max(0, 0.5 * (1 + Math.Cos(Math.PI * Math.Min(1, (t - _warmupSteps) / span)))),
        };
    }
}
