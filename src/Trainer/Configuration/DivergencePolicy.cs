namespace OrtQLoRA.Trainer.Configuration;

/// <summary>What a run does where its loss or gradients are not finite, or its loss jumps.</summary>
public enum DivergencePolicy
{
    /// <summary>End with the parameters of the step before.</summary>
    Stop,

    /// <summary>Leave the update out and go on with the next data.</summary>
    Skip,

    /// <summary>Take parameters and optimizer states back to the last checkpoint and go on with the next data.</summary>
    RollBack,
}
