using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules.Native;

/// <summary>Products with frozen weights, into which nothing flows.</summary>
internal static class LinearGradients
{
    public static void Register(GradientRuleRegistry rules)
    {
        // y = x What + bias: dx = dy What^T, dbias = dy (summed over rows by the walk)
        rules.Add(
            "MatMulInt8",
            c => c.ForEachNeeded(i => i switch
            {
                0 => c.EmitNative("MatMulInt8Grad", [c.OutputGradient, c.Input(1), c.Input(2)], 1).Outputs[0],
                3 => c.Builder.Cast(c.OutputGradient, c.Input(3).ElementType),
                _ => null,
            }),
            OperatorDomains.OrtQLoRA);

        // y = x What^T: dx = dy What
        rules.Add(
            "MatMulInt8Grad",
            c => c.Gradients(c.EmitNative("MatMulInt8", [c.OutputGradient, c.Input(1), c.Input(2)], 1).Outputs[0]),
            OperatorDomains.OrtQLoRA);
        rules.Add("LoraLinear", LoraLinear, OperatorDomains.OrtQLoRA);

        // The operator gives the gradient by x on the way: dx = dloss * output 1
        rules.Add(
            "LinearCrossEntropy",
            c => c.NeedsGradient(1) || (c.Node.Inputs.Count > 3 && c.NeedsGradient(3))
                ? throw c.Unsupported("the output head is trained", "Train with --ops portable.")
                : c.Gradients(Scaled(c, c.Output(1))),
            OperatorDomains.OrtQLoRA);
    }

    // The weight of a micro-batch in the loss must not be rounded to half precision.
    private static Value Scaled(GradientContext c, Value dx) =>
        c.Builder.Cast(c.Builder.Mul(c.Builder.Cast(dx, c.OutputGradient.ElementType), c.OutputGradient), dx.ElementType);

    // y = x What + h B^T + bias, h = scaling x A^T. Nothing but the gradient reads h.
    private static IReadOnlyList<Value?> LoraLinear(GradientContext c)
    {
        Value dy = c.OutputGradient;
        Value? dx = null, da = null, db = null;
        if (c.NeedsGradient(0) || c.NeedsGradient(3) || c.NeedsGradient(4))
        {
            Value[] inputs = [dy, c.Input(0), c.Output(1), c.Input(1), c.Input(2), c.Input(3), c.Input(4)];
            Node gradient = c.EmitNative("LoraLinearGrad", inputs, c.NeedsGradient(0) ? 3 : 2);
            (da, db, dx) = (gradient.Outputs[0], gradient.Outputs[1], gradient.OutputOrNull(2));
        }

        return c.ForEachNeeded(i => i switch { 0 => dx, 3 => da, 4 => db, 5 => c.Builder.Cast(dy, c.Input(5).ElementType), _ => null });
    }
}
