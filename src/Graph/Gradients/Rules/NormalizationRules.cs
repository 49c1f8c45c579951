namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Rules of normalizations.</summary>
internal static class NormalizationRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        rules.Add("LayerNormalization", LayerNormalizationGradient.Build);
        rules.Add("RMSNormalization", RmsNormalizationGradient.Build);

        // ONNX Runtime's own name for the same, written in the default domain.
        rules.Add("SimplifiedLayerNormalization", RmsNormalizationGradient.Build);
        rules.Add("InstanceNormalization", InstanceNormalizationGradient.Build);
        rules.Add("GroupNormalization", GroupNormalizationGradient.Build);
        rules.Add("BatchNormalization", BatchNormalizationGradient.Build);
    }
}
