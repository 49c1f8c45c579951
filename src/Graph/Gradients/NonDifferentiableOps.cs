using System.Collections.Frozen;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>
/// Operators through which no gradient passes, as a list and not as an absence of rules: their outputs are integers, bools
/// or shapes, do not depend on the values of their inputs, or are constant except at jumps, where the derivative is
/// zero as in PyTorch.
/// </summary>
public static class NonDifferentiableOps
{
    private const string DetachedKey = "ortqlora.detached";

    private static readonly FrozenSet<(string Domain, string OpType)> Ops = new[]
    {
        // Shapes and sizes.
        "Shape", "Size", "NonZero", "Unique",

        // Comparisons and logic.
        "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "And", "Or", "Xor", "IsNaN", "IsInf",

        // Bits and strings.
        "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch",
        "TfIdfVectorizer",

        // Indices.
        "ArgMax", "ArgMin", "NonMaxSuppression",

        // Piecewise constant.
        "Ceil", "Floor", "Round", "Sign",

        // Filled with what does not depend on float inputs.
        "Constant", "ConstantOfShape", "EyeLike", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
        "Multinomial", "BlackmanWindow", "HannWindow", "HammingWindow",

        // To integers. Fake quantization with a straight-through gradient is a rewrite of its own, not a rule.
        "QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv",
    }.Select(op => ("", op)).ToFrozenSet();

    /// <summary>Every operator on the list, with its domain.</summary>
    public static IReadOnlyCollection<(string Domain, string OpType)> All => Ops;

    /// <summary>Whether an operator is on the list.</summary>
    public static bool Contains(string opType, string domain = "") => Ops.Contains((Node.NormaliseDomain(domain), opType));

    /// <summary>Whether a node calls an operator on the list, or is marked by <see cref="Detach"/>.</summary>
    public static bool Contains(Node node) => Ops.Contains((node.Domain, node.OpType)) || IsDetached(node);

    /// <summary>Whether the node is marked by <see cref="Detach"/>.</summary>
    public static bool IsDetached(Node node)
    {
        ArgumentNullException.ThrowIfNull(node);
        return node.Metadata.ContainsKey(DetachedKey);
    }

    /// <summary>Marks one node as passing no gradient, as PyTorch's <c>detach</c>.</summary>
    public static void Detach(Node node) => node.Metadata[DetachedKey] = "1";
}
