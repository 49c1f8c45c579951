using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears.Patterns;

/// <summary>Products of integers, as ONNX Runtime's dynamic quantization writes them.</summary>
internal static class IntegerProductPattern
{
    /// <summary>Recognises the node, or returns null.</summary>
    public static LinearSite? Match(Node node) => IntegerProduct.Of(node) is not { Content: { Dims: [long inFeatures, long outFeatures] } content } product ? null : new LinearSite
    {
        Kind = LinearKind.Linear,
        Node = node,
        WeightIndex = 1,
        Weight = product.Weight,
        Content = content,
        Storage = WeightStorage.IntegerProduct,
        IsOutByIn = false,
        InFeatures = inFeatures,
        OutFeatures = outFeatures,
        Input = product.Activations,
    };
}
