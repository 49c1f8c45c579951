using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears.Patterns;

/// <summary>com.microsoft Attention and PackedAttention, which hold the projections to queries, keys and values.</summary>
internal static class FusedQkvPattern
{
    /// <summary>The one or three projections of a node; none if it is another operator.</summary>
    public static IEnumerable<LinearSite> Match(Node node)
    {
        if (!FusedQkv.IsHolder(node)
            || WeightTrace.Of(node.InputOrNull(1)) is not { IsFloat: true, IsTransposed: false, Slice: null, Content.Dims: [long inFeatures, long outFeatures] } trace
            || node.InputOrNull(0) is not { } input)
        {
            yield break;
        }

        long[]? widths = FusedQkv.Widths(node);
        if (!FusedQkv.IsSplit(node) || widths is null)
        {
            yield return Site(outFeatures, slice: null);
            yield break;
        }

        string[] paths = FusedQkv.ModulePaths(node);
        long start = 0;
        for (int i = 0; i < widths.Length; i++)
        {
            LinearSite site = Site(widths[i], new WeightSlice(1, start, widths[i]));
            site.ModulePath = paths[i];
            start += widths[i];
            yield return site;
        }

        LinearSite Site(long width, WeightSlice? slice)
        {
            LinearSite site = new()
            {
                Kind = LinearKind.Linear,
                Node = node,
                WeightIndex = 1,
                Weight = trace.Root,
                Content = slice is { } part ? new SlicedTensor(trace.Content, part.Axis, part.Start, part.Length) : trace.Content,
                Slice = slice,
                WeightChain = trace.Chain,
                Storage = trace.Storage,
                IsOutByIn = false,
                InFeatures = inFeatures,
                OutFeatures = width,
                Input = input,
                IsFused = true,
            };
            if (WeightTrace.Of(node.InputOrNull(2)) is { IsFloat: true, IsDequantized: false, Content.Dims: [_] } bias)
            {
                (site.Bias, site.BiasNode, site.BiasSlice) = (bias.Root, node, slice is { } s ? new WeightSlice(0, s.Start, s.Length) : null);
            }

            return site;
        }
    }
}
