using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears.Patterns;

/// <summary>Conv with a constant kernel [out, in / groups, ...].</summary>
internal static class ConvolutionPattern
{
    /// <summary>Recognises the node, or returns null.</summary>
    public static LinearSite? Match(Node node)
    {
        if (!node.Is("Conv")
            || node.InputOrNull(0) is not { } input
            || WeightTrace.Of(node.InputOrNull(1)) is not { IsFloat: true, Content.Dims: [long outChannels, long inPerGroup, _, ..] } trace)
        {
            return null;
        }

        LinearSite site = new()
        {
            Kind = LinearKind.Convolution,
            Node = node,
            WeightIndex = 1,
            Weight = trace.Root,
            Content = trace.Content,
            WeightChain = trace.Chain,
            Slice = trace.Slice,
            Storage = trace.Storage,
            IsOutByIn = true,
            InFeatures = inPerGroup * node.GetInt("group", 1),
            OutFeatures = outChannels,
            Input = input,
        };
        if (BiasFinder.Vector(node.InputOrNull(2), outChannels) is { } bias)
        {
            (site.Bias, site.BiasNode) = (bias.Root, node);
        }

        return site;
    }
}
