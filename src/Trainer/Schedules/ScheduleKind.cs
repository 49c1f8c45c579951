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
}
