using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Checkpoints;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.Export.Runs;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Checkpoints;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Evaluation;
using OrtQLoRA.Trainer.Reports;
using OrtQLoRA.Trainer.Reports.TensorBoard;
using OrtQLoRA.Trainer.Runs;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer;

/// <summary>Fine-tunes an ONNX model from start to end: reads, trains, evaluates and writes the run folder.</summary>
/// <example>
/// <code>
/// QLoraTrainer.Run(new TrainingOptions
/// {
///     Model = "model.onnx", Data = "train.jsonl", Out = "run", Tokenizer = "tokenizer.json",
///     Quantization = QuantizationKind.Eetq, Rank = 16, MaxSteps = 200,
/// });
/// RunExporter.ExportMerged(RunFolder.Open("run"), "merged.onnx");
/// </code>
/// </example>
public static partial class QLoraTrainer
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>Runs a training, or goes on with one (<see cref="TrainingOptions.Resume"/>).</summary>
    /// <param name="options">What to do. Not changed.</param>
    /// <param name="callback">Is told how the run goes on; null for nobody.</param>
    /// <param name="cancellationToken">Ends the run after the present step; checkpoint and adapter are written as they then are.</param>
    /// <exception cref="Graph.ConfigurationException">Options are wrong or do not fit the model; lists every fault.</exception>
    /// <exception cref="TrainingDataException">Data are missing or faulty; names file and line.</exception>
    /// <exception cref="CheckpointException">The run cannot go on from its checkpoint, or would overwrite an unfinished one.</exception>
    /// <exception cref="TrainingDivergedException">Loss or gradients became NaN; the last good adapter is written.</exception>
    /// <exception cref="OperationCanceledException">The run was cancelled; checkpoint and adapter are written.</exception>
    public static TrainingResult Run(TrainingOptions options, ITrainingCallback? callback = null, CancellationToken cancellationToken = default)
    {
        callback ??= NullCallback.Instance;
        TrainingOptionsValidator.Validate(options);
        options.ResolveModelFolder();
        RunFolder folder = RunFolder.Prepare(options.Out);
        try
        {
            return RunIn(folder, options, callback, cancellationToken);
        }
        finally
        {
            // Of a run that was refused.
            folder.RemoveIfEmpty();
        }
    }

    private static TrainingResult RunIn(RunFolder folder, TrainingOptions options, ITrainingCallback callback, CancellationToken cancellationToken)
    {
        using EventFileCallback? events = options.TensorBoard ? new EventFileCallback(folder.Path, callback) : null;
        callback = events is null ? callback : new CallbackGroup(callback, events);
        CheckpointStore store = new(folder.CheckpointsFolder);
        Checkpoint? resumed = FindCheckpoint(options, store, callback);
        using TrainingMaterial material = TrainingMaterial.Read(options, resumed, callback);
        TrainingSetup setup = material.Setup;
        CheckpointKeeper keeper = new(setup, options, store, new(() => RunInputs.Read(options, material.Model)), callback, resumed);
        TrainingLoop loop = new(setup.Engine, options, material.Examples, material.Collator, callback, cancellationToken)
        {
            RollBack = keeper.RollBack,
            MemoryAdvice = (part, steps) => new TrainingEstimator(setup, options, material.Collator).Memory(material.Examples, part, steps),
        };
        setup.SetTotalSteps(loop.TotalSteps);
        TrainingRun run = new(options, setup, folder, keeper, callback, material.EvalExamples is null ? null : () => Evaluate(material, options), resumed);
        if (resumed is null)
        {
            folder.Clear();
        }

        WriteFacts(folder, options, setup, material.Model);
        callback.OnRunStart(new TrainingRunInfo(
            loop.TotalSteps, material.Unpacked.Count, setup.Engine.Parameters.Sum(p => p.ElementCount), setup.FrozenParameters, setup.AdaptedModules)
        {
            CompletedSteps = run.CompletedSteps,
        });

        (IReadOnlyList<StepMetrics> steps, EvaluationResult? evaluation) = run.Execute(loop);
        if (evaluation is not null)
        {
            RunFolder.WriteText(folder.EvaluationFile, JsonSerializer.Serialize(evaluation, Indented));
        }

        new SampleWriter(setup, material.Collator, material.Data.Tokenizer).Write(folder, material.EvalExamples ?? material.Unpacked, options.Samples);
        if (options.Report)
        {
            RunReport.Write(folder);
        }

        TrainingResult result = new(folder.Path, steps, evaluation);
        callback.OnRunEnd(result);
        return result;
    }

    /// <summary>Finds out what a run will take, without writing anything: memory from shapes, time from a few steps that change nothing.</summary>
    /// <param name="options">What is to be done. Not changed.</param>
    /// <param name="callback">Is told the stages; null for nobody.</param>
    /// <exception cref="Graph.ConfigurationException">Options are wrong or do not fit the model; lists every fault.</exception>
    /// <exception cref="TrainingDataException">Data are missing or faulty; names file and line.</exception>
    public static TrainingEstimate Estimate(TrainingOptions options, ITrainingCallback? callback = null)
    {
        callback ??= NullCallback.Instance;
        TrainingOptionsValidator.Validate(options);
        using TrainingMaterial material = TrainingMaterial.Read(options, null, callback);
        TrainingLoop loop = new(material.Setup.Engine, options, material.Examples, material.Collator, callback);
        callback.OnStage("Trying a few steps");
        return new TrainingEstimator(material.Setup, options, material.Collator).Run(material.Examples, loop.TotalSteps);
    }

    /// <summary>The checkpoint to go on from, if any; an unfinished run is not overwritten by mistake.</summary>
    private static Checkpoint? FindCheckpoint(TrainingOptions options, CheckpointStore store, ITrainingCallback callback)
    {
        if (options.Resume)
        {
            Checkpoint? found = store.Latest(callback.OnWarning);
            callback.OnStage(found is null
                ? $"No checkpoint in '{options.Out}': starting from the beginning"
                : $"Going on from the checkpoint of step {found.Manifest.Step}");
            return found;
        }

        Checkpoint? unfinished = options.Force ? null : store.All.Select(c => Checkpoint.Open(c.Folder).Checkpoint).FirstOrDefault(c => c is not null);
        return unfinished is null || unfinished.Manifest.Step >= unfinished.Manifest.TotalSteps
            ? null
            : throw new CheckpointException(
                $"'{options.Out}' holds a run that ended at step {unfinished.Manifest.Step} of {unfinished.Manifest.TotalSteps}. "
                + "Go on with it by --resume, start anew and lose it by --force, or choose another --out.");
    }

    private static EvaluationResult Evaluate(TrainingMaterial material, TrainingOptions options)
    {
        TrainingSetup setup = material.Setup;
        string output = setup.Facts.LossOutput;
        return Evaluator.Run(
            material.EvalExamples!, options, material.Collator, setup.Task, batch => setup.Engine.EvalStep(batch.Inputs, output).Outputs[output]);
    }

    private static void WriteFacts(RunFolder folder, TrainingOptions options, TrainingSetup setup, OnnxModel model)
    {
        new BaseModelRecord(Path.GetFullPath(options.Model), OptionText.Name(options.Quantization), options.BaseWeights is null ? null : Path.GetFullPath(options.BaseWeights), WeightHash.Of(model))
        {
            KeptModules = options.QuantExclude?.ToJson(),
        }.Write(folder.Path);
        RunFolder.WriteText(folder.ConfigFile, TrainingOptionsFile.ToJson(options, setup.Task));
        if (setup.Quantization.Layers.Count > 0)
        {
            AtomicFile.Write(folder.QuantizationFile, stream => JsonSerializer.Serialize(stream, setup.Quantization, Indented));
        }
    }
}
