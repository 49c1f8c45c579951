namespace OrtQLoRA.Trainer.Callbacks;

/// <summary>Takes no notice.</summary>
internal sealed class NullCallback : ITrainingCallback
{
    internal static readonly NullCallback Instance = new();
}
