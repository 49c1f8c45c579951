using OrtQLoRA.Graph.Training.OrtTraining;

namespace OrtQLoRA.Trainer.Artifacts;

/// <summary>What can be chosen of artifacts beside the options of a run.</summary>
public sealed record ArtifactOptions
{
    /// <summary>Where they are to run.</summary>
    public ArtifactTarget Target { get; init; }

    /// <summary>Where frozen weights lie.</summary>
    public FrozenWeightPlace Frozen { get; init; }

    /// <summary>Name of the loss (<see cref="Graph.Losses.LossHeads"/>); null for the task's.</summary>
    public string? Loss { get; init; }

    /// <summary>Form of AdamW.</summary>
    public AdamWForm AdamW { get; init; }

    /// <summary>
    /// The learning rate. For the web the optimizer model is made to have it, since the session there knows only 0.001; elsewhere it is
    /// the first rate of the runtime's linear scheduler, and programs set theirs with SetLearningRate. Null leaves 0.001.
    /// </summary>
    public double? LearningRate { get; init; }
}
