using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;

/// <summary>A named tensor of a checkpoint.</summary>
/// <param name="Name">Name of the graph input that gets it.</param>
/// <param name="ElementType">Element type.</param>
/// <param name="Value">The value; null in a nominal checkpoint, which names parameters without values.</param>
public sealed record CheckpointParameter(string Name, DataType ElementType, ITensor? Value)
{
    /// <summary>A parameter with a value.</summary>
    public static CheckpointParameter Of(string name, ITensor value)
    {
        ArgumentNullException.ThrowIfNull(value);
        return new CheckpointParameter(name, value.ElementType, value);
    }
}
