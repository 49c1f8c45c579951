namespace OrtQLoRA.Graph.Training.OrtTraining;

/// <summary>Paths of the four files that ONNX Runtime's on-device training works on.</summary>
/// <param name="Folder">Their folder.</param>
public sealed record OrtArtifactFiles(string Folder)
{
    /// <summary>Forward, loss, backward and accumulation.</summary>
    public string TrainingModel => Path.Combine(Folder, "training_model.onnx");

    /// <summary>Forward and loss.</summary>
    public string EvalModel => Path.Combine(Folder, "eval_model.onnx");

    /// <summary>Clipping and update.</summary>
    public string OptimizerModel => Path.Combine(Folder, "optimizer_model.onnx");

    /// <summary>Values of the parameters.</summary>
    public string Checkpoint => Path.Combine(Folder, "checkpoint");

    /// <summary>All four.</summary>
    public IReadOnlyList<string> All => [TrainingModel, EvalModel, OptimizerModel, Checkpoint];
}
