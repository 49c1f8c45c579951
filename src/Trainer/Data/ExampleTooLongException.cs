namespace OrtQLoRA.Trainer.Data;

/// <summary>An example is longer than it may be.</summary>
internal sealed class ExampleTooLongException : TrainingDataException
{
    internal ExampleTooLongException(SourceLine source, string message)
        : base(source, message)
    {
    }
}
