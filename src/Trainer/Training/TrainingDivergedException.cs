using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Training;

/// <summary>The loss or the gradients became NaN or infinite; the run stopped with the parameters of the last good step.</summary>
public sealed class TrainingDivergedException : OrtQLoRAException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">Step, data lines, what became of the adapter, and how to mend it.</param>
    /// <param name="step">The step that failed, from 1.</param>
    public TrainingDivergedException(string message, long step)
        : base(message)
    {
        Step = step;
    }

    /// <summary>The step that failed, from 1.</summary>
    public long Step { get; }
}
