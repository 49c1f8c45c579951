using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// The mean cross-entropy of an output head's logits, as <see cref="Losses.CrossEntropyLoss"/> writes it, and the product with
/// the head's frozen weight before it become <c>ortqlora.LinearCrossEntropy</c>, which never holds the logits. Anchored at
/// the division by the number of labels that count.
/// </summary>
/// <param name="compute">Attribute <c>compute</c> of the emitted operator.</param>
internal sealed class CrossEntropyFusion(string compute) : RewriteRule
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> NativeOperators => ["LinearCrossEntropy"];

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        if (!node.Is("Div") || Loss(node) is not { } loss)
        {
            return RewriteResult.NoMatch;
        }

        Value logits = loss.Logits;
        if (logits.IsGraphOutput || logits.Uses.Count != 1)
        {
            return RewriteResult.Failed("the logits are read elsewhere too", logits);
        }

        if (Head(logits) is not { } head)
        {
            return RewriteResult.Failed("the logits are no product with a frozen float matrix", logits);
        }

        if (head.X.ElementType != DataType.Float || loss.Labels.Shape is not { } labels || head.X.Shape is not { } x || x.Rank != labels.Rank + 1)
        {
            return RewriteResult.Failed("what the head reads is not float, or has other axes than the labels", head.X);
        }

        Value[] inputs = [head.X, head.Weight, loss.Labels];
        Node fused = PatternParts.EmitNative(
            node,
            opset,
            "LinearCrossEntropy",
            head.Bias is null ? inputs : [.. inputs, head.Bias],
            2,
            ("transposed", head.IsTransposed ? 1 : 0),
            ("ignore_index", loss.Ignored),
            ("compute", compute));

        // The pattern's quotient is the negative of the loss.
        GraphBuilder builder = new(node.OwningGraph, opset, node) { Scope = node.Name + "/" };
        return PatternParts.Replace(node.Outputs[0], builder.Neg(fused.Outputs[0]));
    }

    /// <summary>sum(where(counted, log softmax(logits)[label], 0)) / max(count, 1), counted: label other than ignored.</summary>
    private static (Value Logits, Value Labels, long Ignored)? Loss(Node quotient)
    {
        if (PatternParts.Made(quotient.Inputs[0], "ReduceSum") is not { } sum || sum.InputOrNull(1) is not null
            || PatternParts.Made(sum.Inputs[0], "Where") is not { } chosen || ConstantContent.Number(chosen.Inputs[2]) != 0
            || PatternParts.Made(chosen.Inputs[1], "GatherElements") is not { } picked
            || PatternParts.Made(picked.Inputs[0], "LogSoftmax") is not { } logarithm
            || PatternParts.Made(chosen.Inputs[0], "Unsqueeze")?.Inputs[0] is not { } counted
            || PatternParts.Made(picked.Inputs[1], "Unsqueeze")?.Inputs[0] is not { } classes)
        {
            return null;
        }

        Value logits = logarithm.Inputs[0]!;
        int rank = logits.Shape?.Rank ?? 0;
        if (!IsLast(logarithm.GetInt("axis", -1)) || !IsLast(picked.GetInt("axis", 0))
            || PatternParts.Made(classes, "Where") is not { } known || known.Inputs[0] != counted || ConstantContent.Number(known.Inputs[2]) != 0
            || PatternParts.Made(counted, "Not") is not { } not || PatternParts.Made(not.Inputs[0], "Equal") is not { } test
            || test.Inputs[0] != known.Inputs[1] || ConstantContent.Int64s(test.InputOrNull(1)) is not [var ignored]
            || !IsCount(quotient.Inputs[1]!, counted))
        {
            return null;
        }

        return (logits, known.Inputs[1]!, ignored);

        bool IsLast(long axis) => axis == -1 || axis == rank - 1;
    }

    // max(sum(counted as float), 1)
    private static bool IsCount(Value value, Value counted) =>
        PatternParts.Made(value, "Max") is { } least && least.Inputs.Count == 2 && ConstantContent.Number(least.Inputs[1]) == 1
        && PatternParts.Made(least.Inputs[0], "ReduceSum") is { } sum && sum.InputOrNull(1) is null
        && PatternParts.Made(sum.Inputs[0], "Cast")?.Inputs[0] == counted;

    /// <summary>The product that gives logits: MatMul or Gemm, perhaps with a bias, of a constant matrix, perhaps transposed.</summary>
    private static (Value X, Value Weight, bool IsTransposed, Value? Bias)? Head(Value logits)
    {
        Value? bias = null;
        Value product = logits;
        if (PatternParts.Made(logits, "Add") is { } sum)
        {
            (Value First, Value Second) order = PatternParts.Orders(sum).FirstOrDefault(o => PatternParts.Made(o.First, "MatMul") is not null && PatternParts.IsRow(o.Second, logits));
            if (order.First is null || !order.Second.IsConstant)
            {
                return null;
            }

            (product, bias) = order;
        }

        if (product.Producer is not { } node || product.Uses.Count != 1 || (!node.Is("MatMul") && !node.Is("Gemm")))
        {
            return null;
        }

        bool isTransposed = false;
        if (node.Is("Gemm"))
        {
            Value? addend = node.InputOrNull(2);
            bool isPlain = node.GetInt("transA", 0) == 0 && node.GetFloat("alpha", 1) == 1
                && (addend is null || (node.GetFloat("beta", 1) == 1 && addend.IsConstant && PatternParts.IsRow(addend, product)));
            if (!isPlain)
            {
                return null;
            }

            (isTransposed, bias) = (node.GetInt("transB", 0) != 0, addend);
        }

        Value weight = node.Inputs[1]!;
        if (PatternParts.Made(weight, "Transpose") is { } transpose && transpose.Inputs[0] is { Shape.Rank: 2 } && IsSwap(transpose.GetInts("perm")))
        {
            (weight, isTransposed) = (transpose.Inputs[0]!, !isTransposed);
        }

        return weight is { IsConstant: true, ElementType: DataType.Float, Shape.Rank: 2 } ? (node.Inputs[0]!, weight, isTransposed, bias) : null;
    }

    private static bool IsSwap(long[]? perm) => perm is null or [1, 0];
}
