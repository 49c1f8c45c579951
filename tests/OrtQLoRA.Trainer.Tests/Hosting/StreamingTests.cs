using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Callbacks.Events;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Hosting;

namespace OrtQLoRA.Trainer.Tests.Hosting;

[TestClass]
public sealed class StreamingTests
{
    public TestContext TestContext { get; set; } = null!;

    [TestMethod]
    public async Task StreamAsync_WholeRun_HandsOutEveryStepAndTheResult()
    {
        using TrainingFolder folder = new();
        List<TrainingEvent> events = [];
        await foreach (TrainingEvent e in QLoraTrainer.StreamAsync(folder.Options("run", 3), cancellationToken: TestContext.CancellationToken))
        {
            events.Add(e);
        }

        CollectionAssert.AreEqual(new long[] { 1, 2, 3 }, events.OfType<StepFinished>().Select(s => s.Metrics.Step).ToArray());
        Assert.IsInstanceOfType<StageStarted>(events[0]);
        Assert.HasCount(3, ((RunFinished)events[^1]).Result.Steps);
    }

    [TestMethod]
    public async Task StreamAsync_ReaderStops_EndsTheRunWithACheckpoint()
    {
        using TrainingFolder folder = new();
        TrainingOptions options = folder.Options("run", 100_000);
        await foreach (TrainingEvent e in QLoraTrainer.StreamAsync(options, cancellationToken: TestContext.CancellationToken))
        {
            if (e is StepFinished { Metrics.Step: 3 })
            {
                break;
            }
        }

        Assert.HasCount(1, Directory.GetDirectories(Path.Combine(options.Out, "checkpoints"), "step-*"));
        Assert.IsTrue(File.Exists(Path.Combine(options.Out, "adapter", "adapter_model.safetensors")));
    }

    [TestMethod]
    public async Task StreamAsync_Cancelled_ThrowsAndResumes()
    {
        using TrainingFolder folder = new();
        TrainingOptions options = folder.Options("run", 40);
        using CancellationTokenSource cancellation = new();
        await Assert.ThrowsAsync<OperationCanceledException>(async () =>
        {
            await foreach (TrainingEvent e in QLoraTrainer.StreamAsync(options, new Canceller(cancellation, 5), cancellation.Token))
            {
            }
        });

        options.Resume = true;
        TrainingResult resumed = await QLoraTrainer.RunAsync(options, cancellationToken: TestContext.CancellationToken);
        TrainingResult whole = await QLoraTrainer.RunAsync(folder.Options("whole", 40), cancellationToken: TestContext.CancellationToken);

        CollectionAssert.AreEqual(whole.Steps.Select(s => s.Loss).ToArray(), resumed.Steps.Select(s => s.Loss).ToArray());
    }

    [TestMethod]
    public async Task StreamAsync_WrongOptions_ThrowsThem() =>
        await Assert.ThrowsExactlyAsync<Graph.ConfigurationException>(async () =>
        {
            await foreach (TrainingEvent e in QLoraTrainer.StreamAsync(new TrainingOptions(), cancellationToken: TestContext.CancellationToken))
            {
            }
        });

    [TestMethod]
    public async Task AddOrtQLoRA_RegisteredCallbackAndLogger_AreTold()
    {
        using TrainingFolder folder = new();
        Messages messages = new();
        ServiceCollection services = new();
        services.AddSingleton<ILoggerFactory>(messages).AddSingleton<ITrainingCallback>(messages).AddOrtQLoRA();
        using ServiceProvider provider = services.BuildServiceProvider();

        await provider.GetRequiredService<ITrainer>().RunAsync(folder.Options("run", 2), TestContext.CancellationToken);

        Assert.AreEqual(2, messages.Steps);
        Assert.IsTrue(messages.Lines.Any(l => l.StartsWith("Information: Step 2 of 2: loss ", StringComparison.Ordinal)));
        Assert.IsTrue(messages.Lines.Any(l => l.StartsWith("Debug: Step 1 of 2", StringComparison.Ordinal)));
        Assert.IsTrue(messages.Lines.Any(l => l.StartsWith("Information: Training is over after 2 steps", StringComparison.Ordinal)));
    }

    private sealed class Canceller(CancellationTokenSource cancellation, long step) : ITrainingCallback
    {
        public void OnStepEnd(StepMetrics metrics)
        {
            if (metrics.Step == step)
            {
                cancellation.Cancel();
            }
        }
    }

    private sealed class Messages : ILoggerFactory, ILogger, ITrainingCallback
    {
        public List<string> Lines { get; } = [];

        public int Steps { get; private set; }

        public void OnStepEnd(StepMetrics metrics) => Steps++;

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Lines.Add($"{logLevel}: {formatter(state, exception)}");

        public void Dispose()
        {
        }
    }
}
