using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>Every fused operator that training takes apart.</summary>
internal static class DecompositionTable
{
    private const string Ms = OperatorDomains.Microsoft;

    private static readonly Dictionary<(string, string), DecompositionRule> ByOperator = All().ToDictionary(r => (r.Domain, r.OpType));

    /// <summary>The rules.</summary>
    internal static IReadOnlyCollection<DecompositionRule> Rules => ByOperator.Values;

    /// <summary>The rule of a node's operator, or null.</summary>
    internal static DecompositionRule? Find(Node node) => ByOperator.GetValueOrDefault((node.Domain, node.OpType));

    /// <summary>Why a node of an operator in the table stays whole, or null.</summary>
    internal static string? Refusal(Node node) => Find(node)?.Refusal?.Invoke(node);

    private static DecompositionRule[] All() =>
    [
        new("", "Attention", OnnxAttention.Rewrite, OnnxAttention.Refusal),
        new("", "RotaryEmbedding", RotaryEmbedding.Onnx, RotaryEmbedding.Refusal),

        new(Ms, "Attention", FusedAttention.Rewrite, FusedAttention.Refusal),
        new(Ms, "MultiHeadAttention", MultiHeadAttention.Rewrite, MultiHeadAttention.Refusal),
        new(Ms, "GroupQueryAttention", GroupQueryAttention.Rewrite, GroupQueryAttention.Refusal),
        new(Ms, "RotaryEmbedding", RotaryEmbedding.Microsoft, RotaryEmbedding.Refusal),

        new(Ms, "PackedAttention", PackedSequences.PackedAttention, PackedSequences.RefuseAttention),
        new(Ms, "PackedMultiHeadAttention", PackedSequences.PackedMultiHeadAttention),
        new(Ms, "RemovePadding", PackedSequences.RemovePadding),
        new(Ms, "RestorePadding", PackedSequences.RestorePadding),

        new(Ms, "SkipLayerNormalization", FusedNormalizations.SkipLayerNormalization, FusedNormalizations.RefuseStatistics),
        new(Ms, "SkipSimplifiedLayerNormalization", FusedNormalizations.SkipSimplifiedLayerNormalization, FusedNormalizations.RefuseStatistics),
        new(Ms, "EmbedLayerNormalization", FusedNormalizations.EmbedLayerNormalization),
        new(Ms, "GroupNorm", FusedNormalizations.GroupNorm),
        new(Ms, "SkipGroupNorm", FusedNormalizations.SkipGroupNorm),

        new(Ms, "Gelu", FusedActivations.Gelu),
        new(Ms, "BiasGelu", FusedActivations.BiasGelu),
        new(Ms, "FastGelu", FusedActivations.FastGelu),
        new(Ms, "QuickGelu", FusedActivations.QuickGelu),
        new(Ms, "GemmFastGelu", FusedActivations.GemmFastGelu),
        new(Ms, "BiasSplitGelu", FusedActivations.BiasSplitGelu),
        new(Ms, "BiasAdd", FusedActivations.BiasAdd),
        new(Ms, "BiasSoftmax", FusedActivations.BiasSoftmax, FusedActivations.RefuseBiasSoftmax),

        new(Ms, "FusedMatMul", FusedProducts.FusedMatMul, FusedProducts.RefuseTransposedBatch),
        new(Ms, "TransposeMatMul", FusedProducts.FusedMatMul, FusedProducts.RefuseTransposedBatch),
        new(Ms, "FusedMatMulActivation", FusedProducts.FusedMatMulActivation, FusedProducts.RefuseActivation),
        new(Ms, "FusedGemm", FusedProducts.FusedGemm, FusedProducts.RefuseActivation),
        new(Ms, "FusedConv", FusedProducts.FusedConv, FusedProducts.RefuseActivation),

        new(Ms, "MatMulNBits", BlockQuantized.MatMulNBits, BlockQuantized.RefuseMatMulNBits),
        new(Ms, "GatherBlockQuantized", BlockQuantized.GatherBlockQuantized, BlockQuantized.RefuseGather),
    ];
}
