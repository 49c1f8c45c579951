using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>
/// One place of the graph where a constant weight is applied: where quantization, adapters and exports act.
/// </summary>
public sealed class LinearSite
{
    /// <summary>Stable module path, as PyTorch names the module: <c>model.layers.0.self_attn.q_proj</c>.</summary>
    public required string ModulePath { get; init; }

    /// <summary>How the weight is applied.</summary>
    public required LinearKind Kind { get; init; }

    /// <summary>The MatMul, Gemm, Gather or Conv that applies the weight.</summary>
    public required Node Node { get; init; }

    /// <summary>Position of the weight among the node's inputs.</summary>
    public required int WeightIndex { get; init; }

    /// <summary>The initializer that holds the weight, behind any chain of Transpose, Cast and Identity.</summary>
    public required Value Weight { get; init; }

    /// <summary>
    /// Whether the initializer is laid out [out, in], as PyTorch's Linear, rather than [in, out]. All transpositions
    /// between initializer and product (Transpose nodes, Gemm's transB) are taken together.
    /// </summary>
    public required bool IsOutByIn { get; init; }

    /// <summary>Length of the input's last axis; the vocabulary size for an embedding.</summary>
    public required long InFeatures { get; init; }

    /// <summary>Length of the output's last axis.</summary>
    public required long OutFeatures { get; init; }

    /// <summary>What the weight is applied to: the activations, or the ids for an embedding.</summary>
    public required Value Input { get; init; }

    /// <summary>The bias initializer [out], if one is added (by Gemm or by the Add that follows).</summary>
    public Value? Bias { get; init; }

    /// <summary>The node that adds the bias; the same as <see cref="Node"/> for Gemm and Conv, null without bias.</summary>
    public Node? BiasNode { get; init; }

    /// <summary>Whether this is the head that makes the model's logits, which <c>all-linear</c> leaves out.</summary>
    public bool IsOutputHead { get; init; }

    /// <summary>The module's result: after the bias if there is one.</summary>
    public Value Output => (BiasNode ?? Node).Outputs[0];

    /// <inheritdoc/>
    public override string ToString() => $"{ModulePath} [{InFeatures} -> {OutFeatures}]";
}
