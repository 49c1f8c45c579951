namespace OrtQLoRA.Graph.Training.OrtTraining;

/// <summary>What can be chosen of artifacts for ONNX Runtime's on-device training.</summary>
public sealed record OrtTrainingOptions
{
    /// <summary>
    /// Whether the training model has further user inputs after the labels, which the project's own engine feeds:
    /// <see cref="ArtifactNames.LossWeight"/>, by which each micro-batch's gradients are multiplied, and <see cref="ArtifactNames.Pass"/> where the
    /// graph draws dropout or noise from it. Other programs need not know them.
    /// </summary>
    public bool HasEngineInputs { get; init; }

    /// <summary>
    /// Micro-batches whose gradients are averaged: each counts by its reciprocal. ONNX Runtime itself adds them up. 1 by
    /// default. Not together with <see cref="HasEngineInputs"/>.
    /// </summary>
    public int AveragedMicroBatches { get; init; } = 1;

    /// <summary>
    /// Whether frozen floating-point weights lie in the checkpoint, as the official generator lays them, rather than in the
    /// models. Int8 weights, constants and scales stay in the models.
    /// </summary>
    public bool FrozenInCheckpoint { get; init; }

    /// <summary>Form of AdamW; PyTorch's by default.</summary>
    public AdamWForm AdamW { get; init; }

    /// <summary>
    /// Multiplies the session's learning rate. The browser's session knows only 0.001, so that this is the way to another
    /// rate there. 1 by default.
    /// </summary>
    public double LearningRateFactor { get; init; } = 1;
}
