using System.Runtime.CompilerServices;
using System.Threading.Channels;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Callbacks.Events;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer;

public static partial class QLoraTrainer
{
    /// <summary>Runs a training on a thread of its own; else as <see cref="Run"/>.</summary>
    /// <param name="options">What to do. Not changed.</param>
    /// <param name="callback">Is told how the run goes on, on that thread; null for nobody.</param>
    /// <param name="cancellationToken">Ends the run after the present step; checkpoint and adapter are written as they then are.</param>
    public static Task<TrainingResult> RunAsync(TrainingOptions options, ITrainingCallback? callback = null, CancellationToken cancellationToken = default) =>
        Task.Factory.StartNew(() => Run(options, callback, cancellationToken), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>
    /// Runs a training and hands out what happens as it happens; the last event is <see cref="RunFinished"/>. The run does not
    /// wait for the reader. A reader that stops early ends the run after the present step, with checkpoint and adapter written.
    /// </summary>
    /// <example>
    /// <code>
    /// await foreach (TrainingEvent e in QLoraTrainer.StreamAsync(options))
    /// {
    ///     if (e is StepFinished { Metrics: var m }) Console.WriteLine($"{m.Step}: {m.Loss:F4}");
    /// }
    /// </code>
    /// </example>
    /// <param name="options">What to do. Not changed.</param>
    /// <param name="callback">Is told besides, on the thread of the run; null for nobody.</param>
    /// <param name="cancellationToken">Ends the run after the present step; the events then end with <see cref="OperationCanceledException"/>.</param>
    public static async IAsyncEnumerable<TrainingEvent> StreamAsync(
        TrainingOptions options, ITrainingCallback? callback = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        Channel<TrainingEvent> channel = Channel.CreateUnbounded<TrainingEvent>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        EventCallback events = new(e => channel.Writer.TryWrite(e));
        Task run = RunAsync(options, callback is null ? events : new CallbackGroup(callback, events), stop.Token)
            .ContinueWith(t => channel.Writer.Complete(t.Exception?.InnerException ?? (t.IsCanceled ? new OperationCanceledException(stop.Token) : null)), TaskScheduler.Default);
        try
        {
            // Events up to the end of a cancelled run are handed out too, so the reader waits for the run, not for the token.
            await foreach (TrainingEvent item in channel.Reader.ReadAllAsync(CancellationToken.None))
            {
                yield return item;
            }
        }
        finally
        {
            await stop.CancelAsync();
            await run;
        }
    }
}
