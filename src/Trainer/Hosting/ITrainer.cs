using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Callbacks.Events;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Hosting;

/// <summary>Runs trainings in a service: what <see cref="QLoraTrainer"/> does, with the container's logger and callbacks.</summary>
public interface ITrainer
{
    /// <summary>Runs a training on a thread of its own.</summary>
    /// <param name="options">What to do.</param>
    /// <param name="cancellationToken">Ends the run after the present step, with checkpoint and adapter written.</param>
    Task<TrainingResult> RunAsync(TrainingOptions options, CancellationToken cancellationToken = default);

    /// <summary>Runs a training and hands out what happens as it happens.</summary>
    /// <param name="options">What to do.</param>
    /// <param name="cancellationToken">Ends the run after the present step, with checkpoint and adapter written.</param>
    IAsyncEnumerable<TrainingEvent> StreamAsync(TrainingOptions options, CancellationToken cancellationToken = default);
}
