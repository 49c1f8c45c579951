namespace OrtQLoRA.Trainer.Schedules;

/// <summary>What decides the course of a learning rate.</summary>
public sealed record ScheduleSettings
{
    /// <summary>Course after warm-up.</summary>
    public ScheduleKind Kind { get; init; }

    /// <summary>Peak learning rate.</summary>
    public required double LearningRate { get; init; }

    /// <summary>Steps of the whole run, warm-up included.</summary>
    public required long TotalSteps { get; init; }

    /// <summary>Steps over which the rate rises from 0.</summary>
    public long WarmupSteps { get; init; }

    /// <summary>
    /// Lowest rate: where polynomial ends (Transformers' <c>lr_end</c>) and to where the decay of wsd falls. Other courses
    /// fall to 0.
    /// </summary>
    public double MinLearningRate { get; init; }

    /// <summary>Half cosines of cosine-with-restarts.</summary>
    public int Cycles { get; init; } = 1;

    /// <summary>Exponent of polynomial.</summary>
    public double Power { get; init; } = 1;

    /// <summary>Steps of the decay of wsd, the last ones of the run.</summary>
    public long DecaySteps { get; init; }

    /// <summary>Course of the decay of wsd.</summary>
    public DecayKind Decay { get; init; }
}
