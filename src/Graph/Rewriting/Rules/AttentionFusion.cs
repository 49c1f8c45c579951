using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// <c>Softmax(scale * q * k^T + mask) * v</c> over heads of rank 4 becomes <c>ortqlora.Attention</c>. The scale may stand at
/// the scores, at q or at k; the mask is added, or chosen by Where, and the causal rule in it becomes an attribute; keys and values that are repeated for grouped queries
/// are taken before the repetition, and heads before their transposition.
/// </summary>
/// <param name="compute">Attribute <c>compute</c> of the emitted operator.</param>
/// <param name="isTrained">Whether a value depends on what is trained; no gradient goes to a mask.</param>
internal sealed class AttentionFusion(string compute, Func<Value, bool> isTrained) : RewriteRule
{
    private static readonly long[] SwapHeads = [0, 2, 1, 3];

    private readonly CausalMask _causalMask = new();

    /// <inheritdoc/>
    public override IReadOnlyList<string> NativeOperators => ["Attention", "AttentionGrad"];

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        if (!node.Is("MatMul") || WithoutNaN(node.Inputs[0]!) is not { } softmax || node.Outputs[0].IsGraphOutput)
        {
            return RewriteResult.NoMatch;
        }

        if (softmax.Outputs[0].Shape is not { Rank: 4 } || softmax.GetInt("axis", -1) is not (-1 or 3))
        {
            return RewriteResult.Failed("the probabilities do not have the rank 4, or the softmax runs over another axis", softmax.Outputs[0]);
        }

        GraphBuilder builder = new(node.OwningGraph, opset, node) { Scope = node.Name + "/" };
        Value? mask = null;
        Value scores = softmax.Inputs[0]!;
        while (TakeMask(builder, scores) is { } taken)
        {
            mask = mask is null ? taken.Mask : builder.Add(mask, taken.Mask);
            scores = taken.Scores;
        }

        (Value product, double scale) = PatternParts.Unscaled(scores);
        if (PatternParts.Made(product, "MatMul") is not { } queriesByKeys)
        {
            return RewriteResult.Failed("the scores are no product of queries and keys", product);
        }

        (Value q, double queryScale) = PatternParts.Unscaled(queriesByKeys.Inputs[0]!);
        if (Keys(builder, queriesByKeys.Inputs[1]!) is not { } keys)
        {
            return RewriteResult.Failed("the keys are not transposed", queriesByKeys.Inputs[1]);
        }

        return Check(q, keys.K, node.Inputs[1]!, mask)
            ?? Replace(builder, node, q, keys.K, node.Inputs[1]!, mask, scale * queryScale * keys.Scale);
    }

    private RewriteResult? Check(Value q, Value k, Value v, Value? mask)
    {
        bool fits = new[] { q, k, v }.All(x => x.ElementType == DataType.Float && x.Shape is { Rank: 4 });
        if (!fits || !q.Shape![1].IsKnown || q.Shape[1] != k.Shape![1] || q.Shape[1] != v.Shape![1])
        {
            return RewriteResult.Failed("queries, keys and values are no float heads of rank 4 and of one known number", k);
        }

        return mask is null ? null
            : mask.Shape is not { Rank: <= 4 } || (mask.ElementType != DataType.Float && mask.ElementType != DataType.Bool) ? RewriteResult.Failed("the mask is of another type or rank", mask)
            : isTrained(mask) ? RewriteResult.Failed("the mask depends on what is trained", mask)
            : null;
    }

    private RewriteResult Replace(GraphBuilder builder, Node node, Value q, Value k, Value v, Value? mask, double scale)
    {
        if (Unrepeated(k) is { } key && Unrepeated(v) is { } value && key.Shape![1] == value.Shape![1])
        {
            (k, v) = (key, value);
        }

        bool isCausal = false;
        if (mask is not null && q.Shape![2].IsSameAs(k.Shape![2]) && _causalMask.Split(builder, mask) is { IsCausal: true } split)
        {
            (isCausal, mask) = split;
        }

        Value y = node.Outputs[0];
        Value[] heads = [q, k, v];
        bool isSequenceFirst = heads.All(CanBeSequenceFirst);
        Value?[] inputs = [.. heads.Select(h => isSequenceFirst ? SequenceFirst(builder, h) : h)];
        Node fused = PatternParts.EmitNative(
            node,
            builder.Opset,
            "Attention",
            mask is null ? inputs : [.. inputs, mask],
            2,
            ("scale", (float)scale),
            ("causal", isCausal ? 1 : 0),
            ("layout", isSequenceFirst ? "bshd" : "bhsd"),
            ("compute", compute));
        if (!isSequenceFirst)
        {
            return PatternParts.Replace(y, fused.Outputs[0]);
        }

        foreach (Node reader in y.Uses.Select(u => u.Node).Distinct().Where(n => IsSwap(n) && !n.Outputs[0].IsGraphOutput).ToArray())
        {
            PatternParts.Replace(reader.Outputs[0], fused.Outputs[0]);
        }

        return PatternParts.Replace(y, builder.Transpose(fused.Outputs[0], SwapHeads));
    }

    /// <summary>The softmax behind a guard that turns NaN into 0, which the operator gives there itself.</summary>
    private static Node? WithoutNaN(Value value)
    {
        if (PatternParts.Made(value, "Where") is { } guard && PatternParts.Made(guard.Inputs[0], "IsNaN") is { } test
            && test.Inputs[0] == guard.Inputs[2] && ConstantContent.Number(guard.Inputs[1]) == 0)
        {
            value = guard.Inputs[2]!;
        }

        return PatternParts.Made(value, "Softmax");
    }

    /// <summary>A mask that is added to scores, or stands in their place; the scores keep their shape.</summary>
    private static (Value Mask, Value Scores)? TakeMask(GraphBuilder builder, Value value)
    {
        if (PatternParts.Made(value, "Add") is { } sum)
        {
            foreach ((Value scores, Value mask) in PatternParts.Orders(sum))
            {
                if (IsProduct(scores) && !IsProduct(mask) && value.Shape!.IsSameAs(scores.Shape))
                {
                    return (mask, scores);
                }
            }
        }

        if (PatternParts.Made(value, "Where") is { } choice)
        {
            (Value condition, Value chosen, Value other) = (choice.Inputs[0]!, choice.Inputs[1]!, choice.Inputs[2]!);
            if (ConstantContent.Number(other) is double low && low < -1e4 && value.Shape!.IsSameAs(chosen.Shape))
            {
                return (builder.Where(condition, builder.Scalar(0f), builder.Scalar((float)low)), chosen);
            }

            if (ConstantContent.Number(chosen) is double lower && lower < -1e4 && value.Shape!.IsSameAs(other.Shape))
            {
                return (builder.Where(condition, builder.Scalar((float)lower), builder.Scalar(0f)), other);
            }
        }

        return null;
    }

    /// <summary>Whether scores stand here, perhaps masked and scaled.</summary>
    private static bool IsProduct(Value value)
    {
        Value product = PatternParts.Unscaled(value).Operand;
        return PatternParts.Made(product, "MatMul") is not null
            || (PatternParts.Made(product, "Add") is { } sum && sum.Inputs.Any(i => IsProduct(i!)))
            || (PatternParts.Made(product, "Where") is { } choice && choice.Inputs.Skip(1).Any(i => IsProduct(i!)));
    }

    /// <summary>k [batch, heads, keys, size] and the scale of its transposition.</summary>
    private static (Value K, double Scale)? Keys(GraphBuilder builder, Value transposed)
    {
        (Value value, double scale) = PatternParts.Unscaled(transposed);
        if (PatternParts.Made(value, "Transpose") is not { } node)
        {
            return null;
        }

        (Value k, double inner) = PatternParts.Unscaled(node.Inputs[0]!);
        return node.GetInts("perm") switch
        {
            [0, 1, 3, 2] => (k, scale * inner),
            [0, 2, 3, 1] => (builder.Transpose(k, SwapHeads), scale * inner),
            _ => null,
        };
    }

    /// <summary>Heads before Unsqueeze, Expand and Reshape gave each to several queries in a row.</summary>
    private static Value? Unrepeated(Value heads) =>
        PatternParts.Made(heads, "Reshape") is { } flat && PatternParts.Made(flat.Inputs[0], "Expand") is { } expand
        && PatternParts.Made(expand.Inputs[0], "Unsqueeze") is { } single && ConstantContent.Int64s(single.InputOrNull(1)) is [2 or -3]
        && single.Inputs[0] is { Shape: { Rank: 4 } few } source && expand.Outputs[0].Shape is { Rank: 5 } repeated
        && few[1].IsKnown && repeated[1] == few[1] && repeated[2].IsKnown && heads.Shape![1].Value == few[1].Value * repeated[2].Value
        && heads.Shape[2].IsSameAs(few[2]) && heads.Shape[3].IsSameAs(few[3])
            ? source
            : null;

    private static bool IsSwap(Node node) => node.Is("Transpose") && node.GetInts("perm") is [0, 2, 1, 3];

    private static bool IsRotation(Node node) => node.Is("Rotary", Inference.OperatorDomains.OrtQLoRA) && node.GetString("layout", "bhsd") == "bhsd";

    private static bool CanBeSequenceFirst(Value heads) =>
        heads.Producer is { } node && (IsSwap(node) || (IsRotation(node) && CanBeSequenceFirst(node.Inputs[0]!)));

    /// <summary>The heads as [batch, sequence, heads, size]; a rotation moves before the transposition.</summary>
    private static Value SequenceFirst(GraphBuilder builder, Value heads)
    {
        Node node = heads.Producer!;
        return IsSwap(node)
            ? node.Inputs[0]!
            : PatternParts.EmitNative(node, builder.Opset, "Rotary", [SequenceFirst(builder, node.Inputs[0]!), node.Inputs[1], node.Inputs[2]], 1, ("layout", "bshd")).Outputs[0];
    }
}
