using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Checkpoints;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Saves a run's checkpoints and goes back to them.</summary>
internal sealed class CheckpointKeeper
{
    private readonly TrainingSetup _setup;
    private readonly TrainingOptions _options;
    private readonly CheckpointStore _store;
    private readonly Lazy<IReadOnlyList<FileFingerprint>> _inputs;
    private readonly ITrainingCallback _callback;
    private readonly EngineState? _start;
    private long _lastSaved;

    internal CheckpointKeeper(
        TrainingSetup setup, TrainingOptions options, CheckpointStore store, Lazy<IReadOnlyList<FileFingerprint>> inputs, ITrainingCallback callback, Checkpoint? resumed)
    {
        _setup = setup;
        _options = options;
        _store = store;
        _inputs = inputs;
        _callback = callback;
        _lastSaved = resumed?.Manifest.Step ?? 0;
        _start = options.OnDivergence == DivergencePolicy.RollBack && resumed is null ? setup.Engine.SaveState() : null;
    }

    /// <summary>Whether a checkpoint is due after a step.</summary>
    internal bool IsDue(long step, bool isLast) => _options.SaveEvery is long every && (step % every == 0 || isLast);

    /// <summary>Saves a checkpoint unless the step has one. A disk that refuses is told of, and the run goes on.</summary>
    internal void Save(LoopState loop, long totalSteps, MetricsFile metrics, ParameterAverage? average)
    {
        if (loop.Step == _lastSaved)
        {
            return;
        }

        try
        {
            // A checkpoint promises that the metrics of its steps are there.
            metrics.Flush();
            _store.Save(loop.Step, totalSteps, _inputs.Value, folder => Write(folder, loop, average));
            _lastSaved = loop.Step;
            _store.Rotate(_options.KeepCheckpoints, loop.BestStep);
            _callback.OnCheckpoint(_store.PathOf(loop.Step), loop.Step);
        }
        catch (Exception e) when (e is FileWriteException or IOException or UnauthorizedAccessException)
        {
            string kept = _lastSaved > 0 ? $"that of step {_lastSaved} stays" : "there is none yet";
            _callback.OnWarning($"{e.Message} Training goes on without this checkpoint; {kept}.");
        }
    }

    /// <summary>Takes parameters and optimizer states back to the last checkpoint, or to the start before the first.</summary>
    internal void RollBack()
    {
        EngineState now = _setup.Engine.SaveState();
        EngineState good = _lastSaved == 0 && _start is not null
            ? _start
            : Open(_store.PathOf(_lastSaved)).ReadState();

        // Passes count on, so that the masks ahead are new ones.
        _setup.Engine.LoadState(good with { CompletedPasses = now.CompletedPasses });
    }

    private static Checkpoint Open(string folder)
    {
        (Checkpoint? checkpoint, string? fault) = Checkpoint.Open(folder);
        return checkpoint ?? throw new CheckpointException($"The run cannot go back to the checkpoint '{folder}': {fault}.");
    }

    private void Write(string folder, LoopState loop, ParameterAverage? average)
    {
        EngineStateFile.Write(Path.Combine(folder, Checkpoint.StateFile), _setup.Engine.SaveState());
        if (average is not null)
        {
            EngineStateFile.Write(Path.Combine(folder, Checkpoint.AverageFile), average.Save());
        }

        _setup.SaveAdapter(Path.Combine(folder, Checkpoint.AdapterFolder));
        RunFolder.WriteText(Path.Combine(folder, Checkpoint.LoopFile), System.Text.Json.JsonSerializer.Serialize(loop));
        RunFolder.WriteText(Path.Combine(folder, Checkpoint.ConfigFile), TrainingOptionsFile.ToJson(_options, _setup.Task));
    }
}
