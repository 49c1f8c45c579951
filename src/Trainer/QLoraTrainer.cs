using System.Text.Json;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Evaluation;
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
public static class QLoraTrainer
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>Runs a training.</summary>
    /// <param name="options">What to do. Not changed.</param>
    /// <param name="callback">Is told how the run goes on; null for nobody.</param>
    /// <param name="cancellationToken">Ends the run after the present step; the adapter is written as it then is.</param>
    /// <exception cref="Graph.ConfigurationException">Options are wrong or do not fit the model; lists every fault.</exception>
    /// <exception cref="TrainingDataException">Data are missing or faulty; names file and line.</exception>
    /// <exception cref="TrainingDivergedException">Loss or gradients became NaN; the last good adapter is written.</exception>
    /// <exception cref="OperationCanceledException">The run was cancelled; the adapter is written.</exception>
    public static TrainingResult Run(TrainingOptions options, ITrainingCallback? callback = null, CancellationToken cancellationToken = default)
    {
        callback ??= NullCallback.Instance;
        TrainingOptionsValidator.Validate(options);
        RunFolder folder = RunFolder.Prepare(options.Out);
        callback.OnStage($"Reading {options.Model}");
        using OnnxModel model = OnnxModelReader.Read(options.Model);
        AdapterSettings settings = AdapterSettings.Create(options);
        IReadOnlyList<TrainingExample> examples;
        IReadOnlyList<TrainingExample>? evalExamples;
        ModelFacts facts;
        DataSetup data;
        try
        {
            facts = ModelFacts.Read(model, options.LossOutput);
            data = new DataSetup(facts, settings.Task, options);
            examples = data.Read(options.Data);
            evalExamples = options.EvalData is null ? null : data.Read(options.EvalData);
        }
        catch
        {
            settings.Dispose();
            throw;
        }

        using TrainingSetup setup = TrainingSetup.Create(model, facts, settings, options, callback);
        DataCollator collator = new(setup.BatchInputs, setup.Task, data.PadId);
        TrainingLoop loop = new(setup.Engine, options, examples, collator, callback, cancellationToken);
        folder.Clear();
        WriteFacts(folder, options, setup);
        callback.OnRunStart(new TrainingRunInfo(
            loop.TotalSteps, examples.Count, setup.Engine.Parameters.Sum(p => p.ElementCount), setup.FrozenParameters, setup.AdaptedModules));

        IReadOnlyList<StepMetrics> steps = Train(loop, folder, setup);
        EvaluationResult? evaluation = evalExamples is null ? null : Evaluate(evalExamples, options, setup, collator, folder, callback);
        TrainingResult result = new(folder.Path, steps, evaluation);
        callback.OnRunEnd(result);
        return result;
    }

    private static List<StepMetrics> Train(TrainingLoop loop, RunFolder folder, TrainingSetup setup)
    {
        List<StepMetrics> steps = [];
        using MetricsWriter metrics = new(folder.MetricsFile);
        try
        {
            loop.Run(step =>
            {
                metrics.Write(step);
                steps.Add(step);
            });
        }
        catch (TrainingDivergedException e)
        {
            setup.SaveAdapter(folder.AdapterFolder);
            throw new TrainingDivergedException($"{e.Message} The adapter after step {e.Step - 1} is in '{folder.AdapterFolder}'.", e.Step);
        }
        catch (Exception e) when (e is OperationCanceledException or EngineException)
        {
            // Parameters change only in whole optimizer steps, so they are those of the last good one.
            setup.SaveAdapter(folder.AdapterFolder);
            throw;
        }

        setup.SaveAdapter(folder.AdapterFolder);
        return steps;
    }

    private static EvaluationResult Evaluate(
        IReadOnlyList<TrainingExample> examples, TrainingOptions options, TrainingSetup setup, DataCollator collator, RunFolder folder, ITrainingCallback callback)
    {
        callback.OnStage("Evaluating");
        string output = setup.Facts.LossOutput;
        EvaluationResult result = Evaluator.Run(
            examples, options.Batch, collator, setup.Task, batch => setup.Engine.EvalStep(batch.Inputs, output).Outputs[output]);
        RunFolder.WriteText(folder.EvaluationFile, JsonSerializer.Serialize(result, Indented));
        callback.OnEvaluated(result);
        return result;
    }

    private static void WriteFacts(RunFolder folder, TrainingOptions options, TrainingSetup setup)
    {
        RunFolder.WriteText(folder.ConfigFile, TrainingOptionsFile.ToJson(options, setup.Task));
        if (setup.Quantization.Layers.Count > 0)
        {
            AtomicFile.Write(folder.QuantizationFile, stream => JsonSerializer.Serialize(stream, setup.Quantization, Indented));
        }
    }
}
