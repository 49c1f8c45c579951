using Microsoft.Extensions.Logging;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Callbacks.Events;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Hosting;

/// <summary>Tells the container's logger and callbacks of each run.</summary>
internal sealed class HostedTrainer : ITrainer
{
    private readonly IReadOnlyList<ITrainingCallback> _callbacks;
    private readonly ILoggerFactory? _loggers;

    public HostedTrainer(IEnumerable<ITrainingCallback> callbacks, ILoggerFactory? loggers = null)
    {
        _callbacks = [.. callbacks];
        _loggers = loggers;
    }

    /// <inheritdoc/>
    public Task<TrainingResult> RunAsync(TrainingOptions options, CancellationToken cancellationToken = default) =>
        QLoraTrainer.RunAsync(options, Callback(), cancellationToken);

    /// <inheritdoc/>
    public IAsyncEnumerable<TrainingEvent> StreamAsync(TrainingOptions options, CancellationToken cancellationToken = default) =>
        QLoraTrainer.StreamAsync(options, Callback(), cancellationToken);

    private CallbackGroup Callback() => _loggers is null
        ? new CallbackGroup(_callbacks)
        : new CallbackGroup([new LoggingCallback(_loggers.CreateLogger(typeof(QLoraTrainer))), .. _callbacks]);
}
