using System.Diagnostics;
using OrtQLoRA.Trainer.Callbacks;
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
    private readonly ILearningRateSchedule _schedule;
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
        _sampler = new BatchSampler(examples.Count, options.Batch, options.GradientAccumulation, options.Shuffle ? (ulong)options.Seed : null);
        TotalSteps = options.MaxSteps ?? (long)Math.Ceiling((options.Epochs ?? 1) * _sampler.StepsPerEpoch);
        _schedule = new WarmupSchedule(options.LearningRateSchedule, options.LearningRate, options.WarmupSteps, TotalSteps);
    }

    /// <summary>Optimizer steps of the whole run.</summary>
    internal long TotalSteps { get; }

    /// <summary>Runs all steps.</summary>
    /// <param name="onStep">Called after each step, before the callback.</param>
    /// <exception cref="TrainingDivergedException">A loss or gradient is not finite; parameters are those of the last good step.</exception>
    internal void Run(Action<StepMetrics> onStep)
    {
        RequireTargets();
        long step = 0;
        double epochs = _options.MaxSteps is null ? _options.Epochs ?? 1 : double.PositiveInfinity;
        for (long epoch = 0; step < TotalSteps && epoch < epochs; epoch++)
        {
            long window = 0;
            foreach (IReadOnlyList<int[]> indices in _sampler.Windows(epoch))
            {
                _cancellationToken.ThrowIfCancellationRequested();
                window++;
                MicroBatch[] batches = Collate(indices);
                if (batches.Length == 0)
                {
                    continue;
                }

                step++;
                StepMetrics metrics = Step(step, epoch + ((double)window / _sampler.StepsPerEpoch), batches);
                onStep(metrics);
                _callback.OnStepEnd(metrics);
                if (step == TotalSteps)
                {
                    return;
                }
            }
        }
    }

    private StepMetrics Step(long step, double epoch, MicroBatch[] batches)
    {
        long started = Stopwatch.GetTimestamp();
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
                throw Diverged(step, "loss", batchLoss, [batch]);
            }

            loss += weight * batchLoss;
        }

        double rate = _schedule.At(step);
        _engine.LearningRate = rate;
        double norm = _engine.OptimizerStep();
        return double.IsFinite(norm)
            ? new StepMetrics(step, epoch, loss, norm, rate, batches.Sum(b => b.Tokens), Stopwatch.GetElapsedTime(started).TotalSeconds)
            : throw Diverged(step, "gradient norm", norm, batches);
    }

    private double Train(MicroBatch batch, double weight, long step)
    {
        try
        {
            return batch.Train(_engine, weight);
        }
        catch (EngineException e)
        {
            throw new EngineException($"Step {step} failed in the batch of {batch.Describe()}. {e.Message}", e, e.IsUserError);
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

    private TrainingDivergedException Diverged(long step, string what, double value, IEnumerable<MicroBatch> batches) => new(
        $"The {what} of step {step} is {value} in the batch of {string.Join("; ", batches.Select(b => b.Describe()))}. "
        + "Training stopped with the parameters of the step before. "
        + $"Lower --lr (now {_options.LearningRate}), clip with --max-grad-norm, warm up with --warmup-steps, or look at those lines.",
        step);
}
