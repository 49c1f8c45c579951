using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>
/// One place of the graph where a constant weight is applied: where quantization, adapters and exports act. A module
/// that is called several times (ALBERT's shared layers) has several sites; see <see cref="LinearModule"/>.
/// </summary>
public sealed class LinearSite
{
    /// <summary>Stable module path, as PyTorch names the module: <c>model.layers.0.self_attn.q_proj</c>.</summary>
    public string ModulePath { get; internal set; } = "";

    /// <summary>How the weight is applied.</summary>
    public required LinearKind Kind { get; init; }

    /// <summary>The MatMul, Gemm, MatMulNBits, Gather, Conv or fused operator that applies the weight.</summary>
    public required Node Node { get; init; }

    /// <summary>Position of the weight among the node's inputs; 0 for a product <c>W x</c>, see <see cref="IsWeightLeft"/>.</summary>
    public required int WeightIndex { get; init; }

    /// <summary>
    /// The value that holds the weight, behind any chain of Transpose, Cast, Identity and DequantizeLinear: an
    /// initializer, or the output of a Constant node.
    /// </summary>
    public required Value Weight { get; init; }

    /// <summary>Content of <see cref="Weight"/>, or of the part of it that <see cref="Slice"/> names.</summary>
    public required ITensor Content { get; init; }

    /// <summary>The part of <see cref="Weight"/> that is this module's; null for all of it.</summary>
    public WeightSlice? Slice { get; init; }

    /// <summary>The nodes between weight and product, from the weight on.</summary>
    public IReadOnlyList<Node> WeightChain { get; init; } = [];

    /// <summary>In which form the weight lies in the model.</summary>
    public WeightStorage Storage { get; init; }

    /// <summary>
    /// Whether the initializer is laid out [out, in], as PyTorch's Linear, rather than [in, out]. All transpositions
    /// between initializer and product (Transpose nodes, Gemm's transB) are taken together. For an embedding: whether
    /// the initializer is laid out [dim, vocabulary] rather than [vocabulary, dim].
    /// </summary>
    public required bool IsOutByIn { get; init; }

    /// <summary>Number of input features; the vocabulary size for an embedding.</summary>
    public required long InFeatures { get; init; }

    /// <summary>Number of output features.</summary>
    public required long OutFeatures { get; init; }

    /// <summary>What the weight is applied to: the activations, or the ids for an embedding.</summary>
    public required Value Input { get; init; }

    /// <summary>Gemm's alpha: the weight counts times this.</summary>
    public float WeightFactor { get; init; } = 1;

    /// <summary>The value that holds the bias [out], if one is added (by Gemm or by the Add that follows).</summary>
    public Value? Bias { get; internal set; }

    /// <summary>The part of <see cref="Bias"/> that is this module's; null for all of it.</summary>
    public WeightSlice? BiasSlice { get; internal set; }

    /// <summary>The node that adds the bias; the same as <see cref="Node"/> for Gemm and Conv, null without bias.</summary>
    public Node? BiasNode { get; internal set; }

    /// <summary>Gemm's beta: the bias counts times this.</summary>
    public float BiasFactor { get; internal set; } = 1;

    /// <summary>Whether this is the head that makes the model's logits, which <c>all-linear</c> leaves out.</summary>
    public bool IsOutputHead { get; internal set; }

    /// <summary>Whether the product is <c>W x</c>, with the features along the second-last axis, rather than <c>x W</c>.</summary>
    public bool IsWeightLeft => Kind == LinearKind.Linear && WeightIndex == 0;

    /// <summary>
    /// Whether the node does more than apply the weight (attention with its projections, embeddings with their norm), so that
    /// <see cref="Product"/> and <see cref="Output"/> are not this module's. Training graphs have no such sites.
    /// </summary>
    public bool IsFused { get; init; }

    /// <summary>The product alone: before the bias, unless the node adds it itself.</summary>
    public Value Product => Node.Outputs[0];

    /// <summary>The module's result: after the bias if there is one.</summary>
    public Value Output => (BiasNode ?? Node).Outputs[0];

    /// <inheritdoc/>
    public override string ToString() => $"{ModulePath} [{InFeatures} -> {OutFeatures}]";
}
