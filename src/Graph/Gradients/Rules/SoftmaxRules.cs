using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Rules of softmax and its relatives. y is the output, dy its gradient; sums run along the node's axis.</summary>
internal static class SoftmaxRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        rules.Add("Softmax", Softmax);

        rules.Add("LogSoftmax", LogSoftmax);

        // y = one-hot of the largest: constant except at jumps
        rules.Add("Hardmax", c => c.Gradients());
    }

    // dx = y * (dy - sum(dy * y))
    private static IReadOnlyList<Value?> Softmax(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value y = WithoutNaN(c.Output(0));
        Value dy = c.OutputGradient;
        Value sum = b.ReduceSum(b.Mul(dy, y), keepDims: true, c.Node.GetInt("axis", -1));
        return [b.Mul(y, b.Sub(dy, sum))];
    }

    // y = ln(softmax(x)): dx = dy - exp(y) * sum(dy)
    private static IReadOnlyList<Value?> LogSoftmax(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value y = c.Output(0);
        Value dy = c.OutputGradient;
        int axis = c.Axis(c.Node.GetInt("axis", -1), y);

        // Cross-entropy picks one element of each row: its sum is that element, which is then added at its place. No
        // tensor of zeros is filled, read and subtracted from.
        if (c.Forms.TryGetScattered(dy, out ScatteredGradient picked) && picked.Axis == axis && SameButAxis(picked.Updates, y, axis))
        {
            Value negativeSum = b.Neg(b.ReduceSum(picked.Updates, keepDims: true, axis));
            return [picked.Onto(b.Mul(b.Unary("Exp", y), negativeSum))];
        }

        return [b.Sub(dy, b.Mul(b.Unary("Exp", y), b.ReduceSum(dy, keepDims: true, axis)))];
    }

    private static bool SameButAxis(Value updates, Value y, int axis) =>
        updates.Shape is { } picked && y.Shape is { } full && picked.Rank == full.Rank
        && Enumerable.Range(0, full.Rank).All(i => i == axis || picked[i].IsSameAs(full[i]));

    // Exports of scaled dot-product attention write Where(IsNaN(p), 0, p) behind the softmax, since a row that is masked
    // throughout gives NaN. Such a row must get a zero gradient, but y * 0 = NaN: take y from behind the Where.
    private static Value WithoutNaN(Value y)
    {
        foreach (Use use in y.Uses)
        {
            if (use.Node.Is("IsNaN") && use.Node.OutputOrNull(0) is { } isNaN)
            {
                foreach (Use guard in isNaN.Uses)
                {
                    Node where = guard.Node;
                    if (guard.Index == 0 && where.Is("Where") && where.InputOrNull(2) == y && ConstantContent.Number(where.InputOrNull(1)) == 0
                        && where.Graph == y.Graph)
                    {
                        return where.Outputs[0];
                    }
                }
            }
        }

        return y;
    }
}
