using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>Reads values that never change: initializers and outputs of Constant nodes.</summary>
internal static class ConstantContent
{
    /// <summary>
    /// The content, or null if the value is computed or fed. An initializer that is listed as a graph input too (old
    /// exporters list all of them) counts as constant: it is the default, and the caller who feeds it overrides it.
    /// </summary>
    public static ITensor? Of(Value? value) =>
        value is null ? null
        : value.Initializer is not null ? value.Initializer
        : value.Producer is { } node && node.Is("Constant") && node.Attributes.TryGetValue("value", out NodeAttribute? attribute) && attribute.Kind == AttributeKind.Tensor
            ? attribute.AsTensor()
            : null;
}
