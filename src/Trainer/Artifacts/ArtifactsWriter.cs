using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph.Checkpoints;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Graph.Training.OrtTraining;
using OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Artifacts;

/// <summary>
/// Writes artifacts for ONNX Runtime's on-device training (release 1.18 and 1.19) from a model, without Python: training, eval and
/// optimizer model and the first checkpoint.
/// </summary>
/// <example>
/// <code>
/// ArtifactsWriter.Write(new TrainingOptions { Model = "model.onnx", Out = "artifacts", Rank = 16 });
/// </code>
/// </example>
public static class ArtifactsWriter
{
    /// <summary>Writes artifacts.</summary>
    /// <param name="options">
    /// Model, output folder, task, adapter, quantization and optimizer, as for a run; what belongs to data and loop is not looked
    /// at. Gradients of <see cref="TrainingOptions.GradientAccumulation"/> micro-batches are averaged.
    /// </param>
    /// <param name="artifactOptions">What else can be chosen; null for the defaults.</param>
    /// <param name="callback">Is told the stages; null for nobody.</param>
    /// <exception cref="Graph.ConfigurationException">Options are wrong, or do not fit the model, the runtime or the target; lists every fault.</exception>
    /// <exception cref="Graph.UnsupportedOpException">An operator between the loss and a trained tensor has no gradient rule.</exception>
    /// <exception cref="Graph.FileWriteException">A file cannot be written.</exception>
    public static ArtifactSummary Write(TrainingOptions options, ArtifactOptions? artifactOptions = null, ITrainingCallback? callback = null)
    {
        callback ??= NullCallback.Instance;
        artifactOptions ??= new ArtifactOptions();
        TrainingOptionsValidator.ValidateForArtifacts(options);
        options.ResolveModelFolder();
        callback.OnStage($"Reading {options.Model}");
        using OnnxModel model = BaseModel.Read(options.Model, options.BaseWeights);
        using AdapterSettings settings = AdapterSettings.Create(options);
        ModelFacts facts = ModelFacts.Read(model, options.LossOutput);
        CustomOpLibrary? native = NativeOperators.Find(options, model, callback, runsOnSessions: false);
        callback.OnStage("Building the training graph");
        using TrainingGraph graph = TrainingGraphSetup.Build(model, facts, settings, options, native, Dialect(options, artifactOptions), artifactOptions.Loss, isPortable: true);
        TrainingArtifacts artifacts = graph.Artifacts;
        IReadOnlyList<string> remarks = ArtifactTargetCheck.Check(artifacts, artifactOptions);
        callback.OnStage($"Writing {options.Out}");
        double? schedulerRate = artifactOptions.Target == ArtifactTarget.Web ? null : artifactOptions.LearningRate;
        OrtArtifactFiles files = OrtArtifactWriter.Write(artifacts, options.Out, schedulerRate);
        return new ArtifactSummary(
            files,
            artifacts.UserInputs,
            [.. artifacts.EvalModel.Graph.Outputs.Select(o => o.Name)],
            artifacts.Parameters.Count,
            artifacts.Parameters.Sum(p => p.ElementCount),
            artifacts.FrozenParameters.Count,
            files.All.Sum(f => new FileInfo(f).Length),
            remarks);
    }

    private static OrtTrainingDialect Dialect(TrainingOptions options, ArtifactOptions artifactOptions) => new(new OrtTrainingOptions
    {
        AveragedMicroBatches = options.GradientAccumulation,
        FrozenInCheckpoint = artifactOptions.Frozen == FrozenWeightPlace.Checkpoint,
        AdamW = artifactOptions.AdamW,
        LearningRateFactor = artifactOptions is { Target: ArtifactTarget.Web, LearningRate: double rate } ? rate / OptimizerGroupState.DefaultLearningRate : 1,
    });
}
