using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Export;

/// <summary>Onto which base an adapter is merged.</summary>
public sealed class MergeOptions
{
    /// <summary>
    /// The format in which the base was quantized in training: the adapter is merged onto the dequantized weights, the
    /// function that was trained, and the other quantized layers become their dequantized selves too. Null merges onto the
    /// original weights.
    /// </summary>
    public IWeightFormat? Format { get; init; }

    /// <summary>Whether the adapter is taken out of a merged model again, rather than put in. Default false.</summary>
    public bool IsUnmerge { get; init; }

    /// <summary>Linear layers that were not quantized in training; null for none. Without <see cref="Format"/> it has no effect.</summary>
    public ModuleSelector? KeptModules { get; init; }
}
