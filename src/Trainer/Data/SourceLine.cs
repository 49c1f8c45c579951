namespace OrtQLoRA.Trainer.Data;

/// <summary>Where an example comes from.</summary>
/// <param name="File">Path of the data file as the user gave it.</param>
/// <param name="Line">Line in that file, from 1.</param>
public readonly record struct SourceLine(string File, long Line)
{
    /// <inheritdoc/>
    public override string ToString() => $"{File}:{Line}";
}
