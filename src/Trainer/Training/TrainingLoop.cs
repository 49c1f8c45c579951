using System.Diagnostics;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Checkpoints;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Schedules;

namespace OrtQLoRA.Trainer.Training;

/// <summary>
/// The steps of a run. Each: zero gradients, forward and backward of every micro-batch of the window, norm, clipping and
/// update at the step's learning rate. Knows no engine and no files.
/// </summary>
internal sealed class TrainingLoop
{
    private readonly ITrainingEngine _engine;
    private readonly TrainingOptions _options;
    private readonly IReadOnlyList<TrainingExample> _examples;
    private readonly DataCollator _collator;
    private readonly BatchSampler _sampler;
    private readonly WarmupSchedule _schedule;
    private readonly ITrainingCallback _callback;
    private readonly CancellationToken _cancellationToken;

    internal TrainingLoop(
        ITrainingEngine engine,
        TrainingOptions options,
        IReadOnlyList<TrainingExample> examples,
        DataCollator collator,
        ITrainingCallback callback,
        CancellationToken cancellationToken = default)
    {
        _cancellationToken = cancellationToken;
        _engine = engine;
        _options = options;
        _examples = examples;
        _collator = collator;
        _callback = callback;
        _sampler = DataSetup.CreateSampler(examples, options);
        TotalSteps = options.MaxSteps ?? (long)Math.Ceiling((options.Epochs ?? 1) * _sampler.StepsPerEpoch);
        _schedule = new WarmupSchedule(options.Schedule(TotalSteps));
    }

    /// <summary>Optimizer steps of the whole run.</summary>
    internal long TotalSteps { get; }

    /// <summary>Takes parameters and optimizer states back to where they can be trusted; needed by the policy to roll back.</summary>
    internal Action? RollBack { get; init; }

    /// <summary>Estimates the memory of a part in a run of so many steps, for advice when it runs out; null for none.</summary>
    internal Func<Batch, long, TrainingEstimate>? MemoryAdvice { get; init; }

    /// <summary>Runs the steps that are left.</summary>
    /// <param name="state">Where the run stands; moves on with each step.</param>
    /// <param name="onStep">Called after each step; the run ends early if it returns false.</param>
    /// <exception cref="TrainingDivergedException">A loss or gradient is not finite; parameters are those of the last good step.</exception>
    /// <exception cref="OperationCanceledException">The run was cancelled; the present step is done.</exception>
    internal void Run(LoopState state, Func<StepMetrics, bool> onStep)
    {
        RequireTargets();
        DivergenceMonitor monitor = new(_options, state);
        double epochs = _options.MaxSteps is null ? _options.Epochs ?? 1 : double.PositiveInfinity;
        while (state.Step < TotalSteps && state.Epoch < epochs)
        {
            foreach (IReadOnlyList<int[]> indices in _sampler.Windows(state.Epoch).Skip(checked((int)state.Window)))
            {
                _cancellationToken.ThrowIfCancellationRequested();
                state.Window++;
                MicroBatch[] batches = Collate(indices);
                if (batches.Length == 0)
                {
                    continue;
                }

                state.Step++;
                StepMetrics metrics = Step(state, monitor, batches);
                if (!onStep(metrics) || state.Step == TotalSteps)
                {
                    return;
                }
            }

            state.Epoch++;
            state.Window = 0;
        }
    }

    private StepMetrics Step(LoopState state, DivergenceMonitor monitor, MicroBatch[] batches)
    {
        long step = state.Step;
        double rate = _schedule.At(step);
        long started = Stopwatch.GetTimestamp();
        (double loss, MicroBatch[] suspects) = Train(batches, step);
        double norm = double.NaN;
        string? fault = monitor.FaultOf(loss) is string lossFault ? $"The loss of step {step} is {lossFault}" : null;
        if (fault is null)
        {
            _engine.LearningRate = rate;
            norm = _engine.OptimizerStep();
            while (!double.IsFinite(norm) && _engine.ReduceLossScale())
            {
                (loss, suspects) = Train(batches, step);
                norm = _engine.OptimizerStep();
            }

            fault = double.IsFinite(norm) ? null : $"The gradient norm of step {step} is {norm}";
        }

        string? outcome = null;
        if (fault is null)
        {
            monitor.Accept(loss);
        }
        else
        {
            outcome = Handle(state, fault, suspects);
        }

        return new StepMetrics(
            step,
            state.Epoch + ((double)state.Window / _sampler.StepsPerEpoch),
            loss,
            norm,
            rate,
            batches.Sum(b => b.Tokens),
            Stopwatch.GetElapsedTime(started).TotalSeconds)
        {
            Diverged = outcome,
            DevicePeakBytes = _engine.DeviceMemory?.Peak,
            DeviceReservedBytes = _engine.DeviceMemory?.Reserved,
        };
    }

    /// <summary>Adds the gradients of a window.</summary>
    /// <returns>Its loss, or the first that is not finite, and the micro-batches that it is of.</returns>
    private (double Loss, MicroBatch[] Of) Train(MicroBatch[] batches, long step)
    {
        long counted = batches.Sum(b => b.CountedTargets);
        double loss = 0;
        _engine.LazyResetGrad();
        foreach (MicroBatch batch in batches)
        {
            double weight = _options.LossNormalization == LossNormalization.Tokens
                ? (double)batch.CountedTargets / counted
                : 1.0 / batches.Length;
            double batchLoss = Train(batch, weight, step);
            if (!double.IsFinite(batchLoss))
            {
                return (batchLoss, [batch]);
            }

            loss += weight * batchLoss;
        }

        return (loss, batches);
    }

    private double Train(MicroBatch batch, double weight, long step)
    {
        try
        {
            return batch.Train(_engine, weight);
        }
        catch (EngineException e)
        {
            string message = $"Step {step} failed in the batch of {batch.Describe()}. {e.Message}";
            if (!OutOfMemory.IsMeantBy(e) || MemoryAdvice is null)
            {
                throw new EngineException(message, e, e.IsUserError);
            }

            TrainingEstimate estimate = MemoryAdvice(batch.Parts.MaxBy(p => p.Tokens)!, TotalSteps);
            throw new EngineException(
                $"{message}\nThe memory did not suffice.\n{string.Join('\n', estimate.Describe())}\nLess memory: {string.Join("; ", estimate.Advice())}.", e, isUserError: true);
        }
    }

    /// <summary>The window's micro-batches, without those in which nothing counts: their mean would be 0/0.</summary>
    private MicroBatch[] Collate(IReadOnlyList<int[]> window)
    {
        MicroBatch[] batches = [.. window.Select(indices => MicroBatch.Create(_collator, [.. indices.Select(i => _examples[i])], _options.ChunkTokens))];
        foreach (MicroBatch empty in batches.Where(b => b.CountedTargets == 0))
        {
            _callback.OnWarning($"No label counts in the batch of {empty.Describe()}; it is left out.");
        }

        return [.. batches.Where(b => b.CountedTargets > 0)];
    }

    private void RequireTargets()
    {
        if (!_examples.Any(e => _collator.CountTargets(e) > 0))
        {
            throw new TrainingDataException(
                _examples[0].Source,
                "no label counts, here or in any other line: every label is -100, or lines hold a single token, which has no next one to predict.");
        }
    }

    /// <summary>Does what the policy says about a step that went wrong.</summary>
    /// <returns>What was done, for the metrics.</returns>
    private string Handle(LoopState state, string fault, MicroBatch[] batches)
    {
        string where = $"{fault}, in the batch of {string.Join("; ", batches.Select(b => b.Describe()))}.";
        state.SkippedInARow++;
        if (_options.OnDivergence == DivergencePolicy.Stop || state.SkippedInARow > DivergenceMonitor.MostInARow)
        {
            string often = _options.OnDivergence == DivergencePolicy.Stop ? "" : $" It is the {state.SkippedInARow}th step in a row.";
            throw new TrainingDivergedException(
                $"{where}{often} Training stopped with the parameters of the step before. "
                + $"Lower --lr (now {_options.LearningRate}), clip with --max-grad-norm, warm up with --warmup-steps, or look at those lines; "
                + "--on-divergence skip leaves such steps out.",
                state.Step);
        }

        if (_options.OnDivergence == DivergencePolicy.Skip)
        {
            _callback.OnWarning($"{where} The step is left out.");
            return "skipped";
        }

        _callback.OnWarning($"{where} Parameters go back to the last checkpoint.");
        (RollBack ?? throw new InvalidOperationException("The loop was given no way to roll back."))();
        return "rolled-back";
    }
}
