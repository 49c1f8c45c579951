using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Rules of operators that choose among inputs, and of conversions. dy is the output's gradient.</summary>
internal static class SelectionRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        // y = condition ? a : b: da = condition ? dy : 0, db = condition ? 0 : dy. A choice and not a product, so that what
        // the other branch made (NaN of a fully masked row) does not come back as NaN * 0.
        rules.Add("Where", c =>
        {
            Value condition = c.Input(0);
            Value dy = c.GradientToCombineWith(condition);
            return
            [
                null,
                c.NeedsGradient(1) ? c.Builder.KeepWhere(condition, dy) : null,
                c.NeedsGradient(2) ? c.Builder.DropWhere(condition, dy) : null,
            ];
        });
        rules.Add("Clip", Clip);
        rules.Add("Max", Extremum);
        rules.Add("Min", Extremum);

        // Conversions between floating-point types: dx = dy in x's type. To and from other types no gradient passes; the walk
        // stops at values that are not floating-point.
        rules.Add("Cast", c => [c.Builder.Cast(c.OutputGradient, c.Input(0).ElementType)]);
        rules.Add("CastLike", c => [c.Builder.Cast(c.OutputGradient, c.Input(0).ElementType), null]);
        rules.Add("Identity", RuleForms.PassThrough);
        rules.Add("Dropout", Dropout);
        rules.Add("DequantizeLinear", DequantizeLinear);
    }

    // y = min(max(x, lower), upper): dx = dy where lower <= x <= upper, that is where y = x; as PyTorch's clamp,
    // dlower = dy where x < lower < upper, dupper = dy where x > upper or upper < lower.
    private static IReadOnlyList<Value?> Clip(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        Value? lower = c.Node.InputOrNull(1);
        Value? upper = c.Node.InputOrNull(2);
        return c.ForEachNeeded(i =>
        {
            switch (i)
            {
                case 0:
                    return b.KeepWhere(b.Compare("Equal", x, c.Output(0)), c.OutputGradient);
                case 1:
                    Value below = b.Compare("Less", x, lower!);
                    return b.KeepWhere(upper is null ? below : b.Op("And", [below, b.Compare("Less", lower!, upper)]), c.OutputGradient);
                default:
                    Value above = b.Compare("Greater", x, upper!);
                    return b.KeepWhere(lower is null ? above : b.Op("Or", [above, b.Compare("Less", upper!, lower)]), c.OutputGradient);
            }
        });
    }

    // y = max_i x_i or min_i x_i: dx_i = dy / (number of inputs equal to y) where x_i = y; ties share equally.
    private static IReadOnlyList<Value?> Extremum(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value y = c.Output(0);
        if (c.Node.Inputs.Count == 1)
        {
            return [c.OutputGradient];
        }

        Value[] chosen = [.. c.Node.Inputs.Select(x => b.Cast(b.Compare("Equal", x!, y), y.ElementType))];
        Value share = b.Div(c.OutputGradient, chosen.Skip(1).Aggregate(chosen[0], b.Add));
        return c.ForEachNeeded(i => b.Mul(share, chosen[i]));
    }

    // y = training ? x * mask / (1 - ratio) : x: dx = training ? dy * mask / (1 - ratio) : dy
    private static IReadOnlyList<Value?> Dropout(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value? training = c.Node.InputOrNull(2);
        if (training is null || ConstantContent.Number(training) == 0)
        {
            return c.Gradients(c.OutputGradient);
        }

        Value x = c.Input(0);
        Value mask = c.RequireOutput(1, "mask", new OnnxType.Tensor(DataType.Bool, x.Shape));
        Value scale;
        if (c.Node.InputOrNull(1) is not { } ratio)
        {
            scale = b.ScalarLike(x, 2);
        }
        else if (ConstantContent.Number(ratio) is { } known)
        {
            scale = b.ScalarLike(x, 1 / (1 - known));
        }
        else
        {
            scale = b.Cast(b.Unary("Reciprocal", b.Sub(1, ratio)), x.ElementType);
        }

        if (!training.IsConstant)
        {
            // Whether it trains is known only at run time; when it does not, the mask is all true.
            scale = b.Where(training, scale, b.ScalarLike(x, 1));
        }

        return c.Gradients(b.Mul(c.OutputGradient, b.Mul(b.Cast(mask, x.ElementType), scale)));
    }

    // y = (q - zero) * scale: dscale = sum of dy * (q - zero) = sum of dy * y / scale. The integers get none.
    private static IReadOnlyList<Value?> DequantizeLinear(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        if (!c.NeedsGradient(1))
        {
            return c.Gradients();
        }

        if (c.Node.GetInt("block_size", 0) != 0)
        {
            throw c.Unsupported("its scale is per block and is to be differentiated by", "Leave the scale out of the trainable values.");
        }

        Value y = c.Output(0);
        Value scale = c.Input(1);
        Value product = b.Mul(c.OutputGradient, y);
        int rank = c.Rank(y);
        bool perAxis = c.Rank(scale) == 1;
        int axis = perAxis && rank > 0 ? c.Axis(c.Node.GetInt("axis", 1), y) : -1;
        long[] others = [.. Enumerable.Range(0, rank).Where(i => i != axis).Select(i => (long)i)];
        Value sum = others.Length == 0 ? product : b.ReduceSum(product, keepDims: false, others);
        return c.Gradients(null, b.Div(c.ReshapeLike(sum, scale), scale));
    }
}
