namespace OrtQLoRA.Trainer.Artifacts;

/// <summary>Where artifacts hold weights that are not trained.</summary>
public enum FrozenWeightPlace
{
    /// <summary>In the models, as initializers: the checkpoint is small, and int8 stays int8.</summary>
    Models,

    /// <summary>In the checkpoint, as the official generator of artifacts lays them: both models share one copy.</summary>
    Checkpoint,
}
