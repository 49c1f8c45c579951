using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters.Combining;

/// <summary>How <see cref="AdapterCombiner"/> combines.</summary>
public sealed class CombinationOptions
{
    /// <summary>The type; linear by default, as PEFT's.</summary>
    public CombinationType Type { get; init; }

    /// <summary>A weight for each adapter; null takes 1 for all.</summary>
    public IReadOnlyList<double>? Weights { get; init; }

    /// <summary>Rank of decomposed combinations; null takes the largest of the adapters.</summary>
    public int? SvdRank { get; init; }

    /// <summary>Quantile to which decomposed factors are clamped; null does not clamp.</summary>
    public double? SvdClamp { get; init; }

    /// <summary>The share of numbers that pruning keeps, from 0 to 1; needed by every type that prunes.</summary>
    public double? Density { get; init; }

    /// <summary>Whether TIES elects signs by their number rather than by the sum of the values.</summary>
    public bool ElectsByFrequency { get; init; }

    /// <summary>Seed of random pruning; PyTorch draws other numbers.</summary>
    public long Seed { get; init; }

    /// <summary>
    /// Masks of random pruning (1 keeps): <c>key.index</c> with the tensor's key and the adapter's index from 0, or its name in
    /// <see cref="Names"/>. Null draws them.
    /// </summary>
    public IReadOnlyDictionary<string, ITensor>? Masks { get; init; }

    /// <summary>The adapters' names in <see cref="Masks"/>; null takes their indices.</summary>
    public IReadOnlyList<string>? Names { get; init; }
}
