namespace OrtQLoRA.Trainer.Schedules;

/// <summary>
/// Learning rates with a linear warm-up, as the schedulers of Hugging Face's Transformers. With <c>t = step - 1</c>, w
/// warm-up steps, T steps in all and <c>x = (t - w) / max(1, T - w)</c>, the factor of the peak rate is
/// <code>
/// warm-up (t &lt; w)          t / w, so that the first step has rate 0
/// constant                 1
/// linear                   max(0, 1 - x)
/// cosine                   (1 + cos(pi x)) / 2
/// cosine-with-restarts     x &lt; 1: (1 + cos(pi (cycles x mod 1))) / 2, else 0
/// polynomial               (1 - e) (1 - x)^power + e, with e = min-lr / lr
/// inverse-sqrt             1 / sqrt((t - w + s) / s), with s = w, or 10000 without warm-up
/// wsd                      1 until the last d steps, then (1 - e) decay(y) + e, with y = (t - (T - d)) / d
/// </code>
/// </summary>
public sealed class WarmupSchedule : ILearningRateSchedule
{
    /// <summary>Timescale of inverse-sqrt without warm-up, as in Transformers.</summary>
    private const double DefaultTimescale = 10_000;

    private readonly ScheduleSettings _settings;

    /// <summary>Creates a schedule.</summary>
    /// <param name="settings">What decides the course.</param>
    /// <exception cref="ArgumentOutOfRangeException">A count is negative.</exception>
    public WarmupSchedule(ScheduleSettings settings)
    {
        ArgumentNullException.ThrowIfNull(settings);
        ArgumentOutOfRangeException.ThrowIfNegative(settings.WarmupSteps);
        ArgumentOutOfRangeException.ThrowIfNegative(settings.TotalSteps);
        ArgumentOutOfRangeException.ThrowIfNegative(settings.DecaySteps);
        _settings = settings;
    }

    /// <summary>Creates a schedule that needs no further settings.</summary>
    /// <param name="kind">Course after warm-up.</param>
    /// <param name="learningRate">Peak learning rate.</param>
    /// <param name="warmupSteps">Steps over which the rate rises from 0; 0 for none.</param>
    /// <param name="totalSteps">Steps of the whole run, warm-up included.</param>
    /// <exception cref="ArgumentOutOfRangeException">A count is negative.</exception>
    public WarmupSchedule(ScheduleKind kind, double learningRate, long warmupSteps, long totalSteps)
        : this(new ScheduleSettings { Kind = kind, LearningRate = learningRate, WarmupSteps = warmupSteps, TotalSteps = totalSteps })
    {
    }

    /// <inheritdoc/>
    public double At(long step)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(step, 1);
        long t = step - 1;
        long warmup = _settings.WarmupSteps;
        return t < warmup ? _settings.LearningRate * t / warmup : After(t, warmup);
    }

    private double After(long t, long warmup)
    {
        double rate = _settings.LearningRate;
        double span = Math.Max(1, _settings.TotalSteps - warmup);
        double done = Math.Min(1, (t - warmup) / span);
        switch (_settings.Kind)
        {
            case ScheduleKind.Constant:
                return rate;
            case ScheduleKind.Linear:
                return rate * Math.Max(0, _settings.TotalSteps - t) / span;
            case ScheduleKind.Cosine:
                return rate * HalfCosine(done);
            case ScheduleKind.CosineWithRestarts:
                return done >= 1 ? 0 : rate * HalfCosine(_settings.Cycles * done % 1);
            case ScheduleKind.Polynomial:
                return ((rate - _settings.MinLearningRate) * Math.Pow(1 - done, _settings.Power)) + _settings.MinLearningRate;
            case ScheduleKind.InverseSqrt:
                double timescale = warmup > 0 ? warmup : DefaultTimescale;
                return rate / Math.Sqrt((t - warmup + timescale) / timescale);
            default:
                return Decayed(t, warmup);
        }
    }

    private double Decayed(long t, long warmup)
    {
        long start = Math.Max(warmup, _settings.TotalSteps - _settings.DecaySteps);
        if (t < start)
        {
            return _settings.LearningRate;
        }

        double x = Math.Min(1, (t - start) / (double)Math.Max(1, _settings.TotalSteps - start));
        double factor = _settings.Decay switch
        {
            DecayKind.Linear => 1 - x,
            DecayKind.OneMinusSqrt => 1 - Math.Sqrt(x),
            _ => HalfCosine(x),
        };
        return ((_settings.LearningRate - _settings.MinLearningRate) * factor) + _settings.MinLearningRate;
    }

    private static double HalfCosine(double x) => Math.Max(0, 0.5 * (1 + Math.Cos(Math.PI * x)));
}
