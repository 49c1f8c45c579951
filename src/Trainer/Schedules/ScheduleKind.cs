namespace OrtQLoRA.Trainer.Schedules;

/// <summary>How the learning rate goes on after warm-up.</summary>
public enum ScheduleKind
{
    /// <summary>It stays.</summary>
    Constant,

    /// <summary>It falls on a line to 0 after the last step.</summary>
    Linear,

    /// <summary>It falls on half a cosine to 0 after the last step.</summary>
    Cosine,

    /// <summary>It falls on half a cosine several times, each time from the peak.</summary>
    CosineWithRestarts,

    /// <summary>It falls to the final rate as a power of the share of steps left.</summary>
    Polynomial,

    /// <summary>It falls with the inverse square root of the step.</summary>
    InverseSqrt,

    /// <summary>Warm-up, stable, decay: it stays, then falls over the last steps.</summary>
    Wsd,
}
