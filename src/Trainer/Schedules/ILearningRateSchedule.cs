namespace OrtQLoRA.Trainer.Schedules;

/// <summary>Learning rate as a function of the step.</summary>
public interface ILearningRateSchedule
{
    /// <summary>The learning rate of a step.</summary>
    /// <param name="step">Number of the step, from 1.</param>
    double At(long step);
}
