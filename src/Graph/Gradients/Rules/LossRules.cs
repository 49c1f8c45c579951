namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Rules of operators that are losses.</summary>
internal static class LossRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        rules.Add("SoftmaxCrossEntropyLoss", CrossEntropyGradient.BuildWithSoftmax);
        rules.Add("NegativeLogLikelihoodLoss", CrossEntropyGradient.BuildFromLogProbabilities);
    }
}
