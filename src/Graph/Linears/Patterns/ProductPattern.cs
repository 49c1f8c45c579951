using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears.Patterns;

/// <summary>MatMul and Gemm with a constant matrix on either side.</summary>
internal static class ProductPattern
{
    /// <summary>Recognises the node, or returns null.</summary>
    public static LinearSite? Match(Node node)
    {
        bool isGemm = node.Is("Gemm");
        if (!isGemm && !node.Is("MatMul"))
        {
            return null;
        }

        return MatchSide(node, isGemm, weightIndex: 1) ?? MatchSide(node, isGemm, weightIndex: 0);
    }

    private static LinearSite? MatchSide(Node node, bool isGemm, int weightIndex)
    {
        if (WeightTrace.Of(node.InputOrNull(weightIndex)) is not { IsFloat: true, Content.Dims: [long first, long second] } trace
            || node.InputOrNull(1 - weightIndex) is not { } input
            || WeightTrace.Of(input) is not null)
        {
            return null;
        }

        bool transposed = trace.IsTransposed ^ (isGemm && node.GetInt(weightIndex == 1 ? "transB" : "transA", 0) != 0);
        bool isWeightLeft = weightIndex == 0;
        if (isWeightLeft && (first == 1 || second == 1))
        {
            // A constant column or row on the left scales positions or averages rows; it is no layer.
            return null;
        }

        if (isGemm && !isWeightLeft && node.GetInt("transA", 0) != 0)
        {
            // The activations are read transposed: their features would lie along the batch axis.
            return null;
        }

        // x W reads W as [in, out], W x reads it as [out, in].
        bool isOutByIn = transposed ^ isWeightLeft;
        (long inFeatures, long outFeatures) = isOutByIn ? (second, first) : (first, second);
        LinearSite site = new()
        {
            Kind = LinearKind.Linear,
            Node = node,
            WeightIndex = weightIndex,
            Weight = trace.Root,
            Content = trace.Content,
            WeightChain = trace.Chain,
            Slice = trace.Slice,
            Storage = trace.Storage,
            IsOutByIn = isOutByIn,
            InFeatures = inFeatures,
            OutFeatures = outFeatures,
            Input = input,
            WeightFactor = isGemm ? node.GetFloat("alpha", 1) : 1,
        };
        if (isGemm && !isWeightLeft && node.InputOrNull(2) is { } addend)
        {
            if (BiasFinder.Vector(addend, outFeatures) is { } bias)
            {
                (site.Bias, site.BiasNode, site.BiasFactor, site.BiasSlice) = (bias.Root, node, node.GetFloat("beta", 1), bias.Slice);
            }
        }
        else if (!isWeightLeft)
        {
            BiasFinder.AttachFollowingBias(site);
        }

        return site;
    }
}
