using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>
/// A parameter of the model as PyTorch names it, and the initializer that holds it. Tied parameters (embedding and
/// output head) are two parameters with one initializer.
/// </summary>
public sealed class ModelParameter
{
    /// <summary>Name, for example <c>model.layers.0.self_attn.q_proj.weight</c>.</summary>
    public required string Name { get; init; }

    /// <summary>The initializer, or the output of a Constant node.</summary>
    public required Value Value { get; init; }

    /// <summary>The part of <see cref="Value"/> that is this parameter; null for all of it.</summary>
    public WeightSlice? Slice { get; init; }

    /// <summary>Content of <see cref="Value"/>, or of the part of it that <see cref="Slice"/> names.</summary>
    public required ITensor Content { get; init; }

    /// <summary>
    /// What the initializer holds beyond PyTorch's parameter: 1 where the exporter folded the <c>1 + weight</c> of a norm (see
    /// <see cref="FoldedNorms"/>), else 0.
    /// </summary>
    public float Offset { get; init; }

    /// <summary>Whether the two dimensions of the initializer are PyTorch's in reverse order.</summary>
    public bool IsTransposed { get; init; }

    /// <summary>The module whose weight this is; null for biases and for parameters of other layers.</summary>
    public LinearModule? WeightOf { get; init; }

    /// <summary>The module whose bias this is; null otherwise.</summary>
    public LinearModule? BiasOf { get; init; }

    /// <summary>Whether this is a bias: of a linear layer, or by its name.</summary>
    public bool IsBias => BiasOf is not null || Name.EndsWith(".bias", StringComparison.Ordinal) || Name.EndsWith("_bias", StringComparison.Ordinal) || Name == "bias";

    /// <summary>Path of the module that owns the parameter: the name without its last segment.</summary>
    public string ModulePath => Name.LastIndexOf('.') is int dot and >= 0 ? Name[..dot] : "";

    /// <summary>Dimensions in PyTorch's order.</summary>
    public IReadOnlyList<long> TorchDims => IsTransposed ? [.. Content.Dims.Reverse()] : Content.Dims;

    /// <inheritdoc/>
    public override string ToString() => $"{Name} [{string.Join(", ", TorchDims)}]";
}
