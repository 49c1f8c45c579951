using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// Cross-entropy against integer labels, classes along axis 1. With u_i = weight of label i (0 if ignored) times dloss,
/// divided by the sum of weights if the reduction is 'mean': dlogp = -u_i at the label, 0 elsewhere, and
/// dscores = u_i * softmax(scores) - u_i at the label.
/// </summary>
internal static class CrossEntropyGradient
{
    /// <summary>SoftmaxCrossEntropyLoss: scores, labels, weights -> loss, log_prob.</summary>
    public static IReadOnlyList<Value?> BuildWithSoftmax(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value scores = c.Input(0);
        Value logProbabilities = c.RequireOutput(1, "log_prob", scores.Type!);
        Value probabilities = b.Unary("Exp", logProbabilities);
        Value? gradient = null;
        if (c.OutputGradientOrNull(0) is { } lossGradient)
        {
            (Value share, Value labels) = Shares(c, lossGradient);
            gradient = b.Op(
                "ScatterElements", [b.Mul(probabilities, share), labels, b.Neg(share)], ("axis", 1), ("reduction", "add"));
        }

        // The log probabilities are an output too; what reads them sees dscores = dlogp - softmax * sum(dlogp).
        if (c.OutputGradientOrNull(1) is { } direct)
        {
            Value through = b.Sub(direct, b.Mul(probabilities, b.ReduceSum(direct, keepDims: true, 1)));
            gradient = gradient is null ? through : b.Add(gradient, through);
        }

        return c.Gradients(gradient);
    }

    /// <summary>NegativeLogLikelihoodLoss: log probabilities, labels, weights -> loss.</summary>
    public static IReadOnlyList<Value?> BuildFromLogProbabilities(GradientContext c)
    {
        (Value share, Value labels) = Shares(c, c.OutputGradient);
        return c.Gradients(c.Forms.ScatterElementsIntoZeros(c.Input(0), labels, c.Builder.Neg(share), 1));
    }

    // u_i and the labels (0 where ignored), both [N, 1, d1, ...].
    private static (Value Share, Value Labels) Shares(GradientContext c, Value lossGradient)
    {
        GraphBuilder b = c.Builder;
        if (c.NeedsGradient(2))
        {
            throw c.Unsupported("its class weights are to be differentiated by", "Leave the class weights out of the trainable values.");
        }

        Value labels = b.Cast(c.Input(1), DataType.Int64);
        DataType type = c.Input(0).ElementType;
        Value? weight = null;
        if (c.Node.Attributes.ContainsKey("ignore_index"))
        {
            Value isIgnored = b.Compare("Equal", labels, b.Scalar(c.Node.GetInt("ignore_index", 0)));
            labels = b.Where(isIgnored, b.Scalar(0L), labels);
            weight = b.Cast(b.Unary("Not", isIgnored), type);
        }

        if (c.Node.InputOrNull(2) is { } classWeights)
        {
            Value picked = b.Op("Gather", [classWeights, labels], ("axis", 0));
            weight = weight is null ? picked : b.Mul(weight, picked);
        }

        weight ??= b.Expand(b.Scalar(type, 1), c.ShapeOf(c.Input(1)));
        string reduction = c.Node.GetString("reduction", "mean");
        Value scale = reduction == "mean" ? b.Div(lossGradient, b.Op("ReduceSum", [weight], ("keepdims", 0))) : lossGradient;
        return (b.Unsqueeze(b.Mul(weight, scale), 1), b.Unsqueeze(labels, 1));
    }
}
