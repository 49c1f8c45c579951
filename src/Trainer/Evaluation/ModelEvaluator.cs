using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Evaluation;

/// <summary>Evaluates any ONNX model as it is, for example an export, on data.</summary>
public static class ModelEvaluator
{
    /// <summary>Evaluates.</summary>
    /// <param name="model">The model.</param>
    /// <param name="dataPath">The data.</param>
    /// <param name="options">Task, batch size, tokenizer and the like; model and data paths in it are not used.</param>
    /// <param name="progress">Called with the share done; null for none.</param>
    /// <exception cref="TrainingDataException">The data do not fit.</exception>
    /// <exception cref="EngineException">ONNX Runtime refused the model or a batch.</exception>
    public static EvaluationResult Evaluate(OnnxModel model, string dataPath, TrainingOptions options, Action<double>? progress = null)
    {
        TrainingTask task = options.Task ?? TrainingTask.CausalLm;
        ModelFacts facts = ModelFacts.Read(model, options.LossOutput);
        using DataSetup data = new(facts, task, options);
        IReadOnlyList<TrainingExample> examples = data.Read(dataPath);
        using GraphRunner runner = new(model, new EngineOptions { IntraOpThreads = options.Threads });
        DataCollator collator = data.CreateCollator([.. facts.Inputs, LabelInput(task, model, facts)], task);
        return Evaluator.Run(
            examples,
            options,
            collator,
            task,
            batch => runner.Run(batch.Inputs, [facts.LossOutput])[facts.LossOutput],
            progress);
    }

    /// <summary>The tensor that labels or targets are collated to.</summary>
    private static ModelInput LabelInput(TrainingTask task, OnnxModel model, ModelFacts facts) => task == TrainingTask.Regression
        ? new ModelInput(ArtifactNames.Target, DataType.Float, model.Graph.GetValue(facts.LossOutput).Shape)
        : new ModelInput(ArtifactNames.Labels, DataType.Int64, null);
}
