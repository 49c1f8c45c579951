using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Training;

/// <summary>The artifacts made from a model, with what went into them.</summary>
public sealed class TrainingGraph : IDisposable
{
    /// <summary>The models for an engine.</summary>
    public required TrainingArtifacts Artifacts { get; init; }

    /// <summary>The adapter: its plan, for writing files and merging.</summary>
    public required InsertedAdapter Adapter { get; init; }

    /// <summary>What quantization did; empty without it.</summary>
    public required QuantizationReport Quantization { get; init; }

    /// <inheritdoc/>
    public void Dispose() => Artifacts.Dispose();
}
