using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Checkpoints;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Trainer.Training;

/// <summary>
/// What happens around the steps: metrics, evaluation, the best model, early stopping, averaged parameters, checkpoints,
/// and the adapter at the end, however the run ends.
/// </summary>
internal sealed class TrainingRun
{
    private readonly TrainingOptions _options;
    private readonly TrainingSetup _setup;
    private readonly RunFolder _folder;
    private readonly CheckpointKeeper _keeper;
    private readonly ITrainingCallback _callback;
    private readonly Func<EvaluationResult>? _evaluate;
    private readonly LoopState _state;
    private readonly ParameterAverage? _average;
    private EvaluationResult? _lastEvaluation;
    private bool _metricsRefused;

    /// <summary>Prepares a run, from the start or from a checkpoint.</summary>
    /// <param name="options">The options.</param>
    /// <param name="setup">Model and engine.</param>
    /// <param name="folder">Where to write.</param>
    /// <param name="keeper">Saves checkpoints.</param>
    /// <param name="callback">Is told how it goes.</param>
    /// <param name="evaluate">Evaluates the engine's present parameters; null without eval data.</param>
    /// <param name="resumed">The checkpoint to go on from; null for the start.</param>
    internal TrainingRun(
        TrainingOptions options,
        TrainingSetup setup,
        RunFolder folder,
        CheckpointKeeper keeper,
        ITrainingCallback callback,
        Func<EvaluationResult>? evaluate,
        Checkpoint? resumed)
    {
        _options = options;
        _setup = setup;
        _folder = folder;
        _keeper = keeper;
        _callback = callback;
        _evaluate = evaluate;
        _state = resumed?.ReadLoop() ?? new LoopState();
        _average = options.Ema is double decay ? new ParameterAverage(setup.Engine, decay) : null;
        if (resumed is not null)
        {
            setup.Engine.LoadState(resumed.ReadState());
            if (resumed.HasAverage)
            {
                _average?.Load(resumed.ReadAverage());
            }
        }
    }

    /// <summary>Steps that are done.</summary>
    internal long CompletedSteps => _state.Step;

    /// <summary>Runs the steps that are left and writes the adapter.</summary>
    /// <returns>Every step of the run, earlier parts included, and the last evaluation.</returns>
    /// <exception cref="TrainingDivergedException">Loss or gradients are not finite; the adapter of the last good step is written.</exception>
    /// <exception cref="OperationCanceledException">The run was cancelled; checkpoint and adapter are written.</exception>
    internal (IReadOnlyList<StepMetrics> Steps, EvaluationResult? Evaluation) Execute(TrainingLoop loop)
    {
        using MetricsFile metrics = MetricsFile.Open(_folder.MetricsFile, _state.Step, out IReadOnlyList<StepMetrics> kept);
        if (kept.Count > 0 && kept[^1].Step != _state.Step)
        {
            _callback.OnWarning($"'{_folder.MetricsFile}' ends with step {kept[^1].Step}, before the checkpoint of step {_state.Step}; the steps between are missing there.");
        }

        List<StepMetrics> steps = [.. kept];
        try
        {
            if (!_state.EndedEarly)
            {
                loop.Run(_state, step =>
                {
                    Finish(step, loop, metrics, steps);
                    _callback.OnStepEnd(steps[^1]);
                    return !_state.EndedEarly;
                });
            }

            metrics.Flush();
        }
        catch (TrainingDivergedException e)
        {
            SaveAdapter();
            throw new TrainingDivergedException($"{e.Message} The adapter after step {e.Step - 1} is in '{_folder.AdapterFolder}'.", e.Step);
        }
        catch (OperationCanceledException e)
        {
            _keeper.Save(_state, loop.TotalSteps, metrics, _average);
            SaveAdapter();
            throw new OperationCanceledException(
                $"Ended after step {_state.Step} of {loop.TotalSteps}. Checkpoint and adapter are written; the same command with --resume goes on from there.",
                e, e.CancellationToken);
        }
        catch (EngineException)
        {
            // Parameters change only in whole optimizer steps, so they are those of the last good one.
            SaveAdapter();
            throw;
        }

        UseFinalParameters();
        _setup.SaveAdapter(_folder.AdapterFolder);
        return (steps, FinalEvaluation());
    }

    /// <summary>Everything that follows a step.</summary>
    private void Finish(StepMetrics step, TrainingLoop loop, MetricsFile metrics, List<StepMetrics> steps)
    {
        _average?.Update();
        _lastEvaluation = null;
        bool isLast = step.Step == loop.TotalSteps;
        if (_evaluate is not null && _options.EvalEvery is long every && (step.Step % every == 0 || isLast))
        {
            EvaluationResult result = Evaluate();
            step = step with { EvalLoss = result.Loss, EvalAccuracy = result.Accuracy };
            Track(result);
        }

        steps.Add(step);
        Write(metrics, step);
        if (_keeper.IsDue(step.Step, isLast || _state.EndedEarly))
        {
            _keeper.Save(_state, _state.EndedEarly ? step.Step : loop.TotalSteps, metrics, _average);
        }
    }

    private void Write(MetricsFile metrics, StepMetrics step)
    {
        string? refusal = metrics.Write(step);
        if (refusal is not null && !_metricsRefused)
        {
            _callback.OnWarning($"The metrics of step {step.Step} cannot be written: {refusal} They are kept in memory and written when the disk takes them.");
        }

        _metricsRefused = refusal is not null;
    }

    private EvaluationResult Evaluate()
    {
        EvaluationResult? result = null;
        if (_average is null)
        {
            result = _evaluate!();
        }
        else
        {
            _average.Use(() => result = _evaluate!());
        }

        _lastEvaluation = result;
        _callback.OnEvaluated(result!);
        return result!;
    }

    /// <summary>Keeps the best adapter, counts evaluations without gain, and ends the run where there are too many.</summary>
    private void Track(EvaluationResult result)
    {
        double? previous = _state.BestLoss;
        if (previous is null || result.Loss < previous)
        {
            _state.BestLoss = result.Loss;
            _state.BestStep = _state.Step;
            SaveBest();
        }

        bool gained = previous is null || result.Loss < previous - _options.EarlyStoppingThreshold;
        _state.EvaluationsWithoutGain = gained ? 0 : _state.EvaluationsWithoutGain + 1;
        if (_options.EarlyStopping is int patience && _state.EvaluationsWithoutGain >= patience)
        {
            _state.EndedEarly = true;
            _callback.OnStage($"Stopping early: no gain in the last {patience} evaluations; the best loss, {_state.BestLoss:G6}, is that of step {_state.BestStep}");
        }
    }

    private void SaveBest()
    {
        void Save()
        {
            _setup.SaveAdapter(_folder.BestFolder);
            Dictionary<string, DenseTensor> parameters = _setup.Engine.Parameters.ToDictionary(p => p.Name, p => _setup.Engine.GetParameter(p.Name));
            EngineStateFile.Write(
                _folder.BestParametersFile,
                new EngineState(_state.Step, 0, parameters, new Dictionary<string, IReadOnlyDictionary<string, DenseTensor>>()));
        }

        if (_average is null)
        {
            Save();
        }
        else
        {
            _average.Use(Save);
        }
    }

    /// <summary>The adapter of a run that ends before its time.</summary>
    private void SaveAdapter()
    {
        _average?.Apply();
        _setup.SaveAdapter(_folder.AdapterFolder);
    }

    /// <summary>Puts into the engine what the run hands out: trained, averaged, or best parameters.</summary>
    private void UseFinalParameters()
    {
        if (_options.LoadBest && _state.BestLoss is not null && _state.BestStep != _state.Step)
        {
            foreach ((string name, DenseTensor value) in EngineStateFile.Read(_folder.BestParametersFile).Parameters)
            {
                _setup.Engine.SetParameter(name, value);
            }

            _lastEvaluation = null;
            _callback.OnStage($"Taking the parameters of step {_state.BestStep}, whose evaluation is the best");
        }
        else
        {
            _average?.Apply();
        }
    }

    private EvaluationResult? FinalEvaluation()
    {
        if (_lastEvaluation is null && _evaluate is not null)
        {
            _lastEvaluation = _evaluate();
            _callback.OnEvaluated(_lastEvaluation);
        }

        return _lastEvaluation;
    }
}
