using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears.Patterns;

/// <summary>com.microsoft MatMulNBits: a product with a weight [out, in] in packed blocks.</summary>
internal static class BlockQuantizedPattern
{
    /// <summary>Recognises the node, or returns null.</summary>
    public static LinearSite? Match(Node node)
    {
        if (!node.Is("MatMulNBits", "com.microsoft")
            || node.InputOrNull(0) is not { } input
            || node.InputOrNull(1) is not { } weight
            || ConstantContent.DefaultOf(weight) is not { } content
            || node.GetInt("K", 0) is not (> 0 and long inFeatures)
            || node.GetInt("N", 0) is not (> 0 and long outFeatures))
        {
            return null;
        }

        LinearSite site = new()
        {
            Kind = LinearKind.Linear,
            Node = node,
            WeightIndex = 1,
            Weight = weight,
            Content = content,
            Storage = WeightStorage.MatMulNBits,
            IsOutByIn = true,
            InFeatures = inFeatures,
            OutFeatures = outFeatures,
            Input = input,
        };
        if (BiasFinder.Vector(node.InputOrNull(5), outFeatures) is { } bias)
        {
            (site.Bias, site.BiasNode) = (bias.Root, node);
        }
        else
        {
            BiasFinder.AttachFollowingBias(site);
        }

        return site;
    }
}
