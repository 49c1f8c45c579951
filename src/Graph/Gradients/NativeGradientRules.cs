using OrtQLoRA.Graph.Gradients.Rules.Native;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>
/// Gradient rules of the native library's operators, which emit its gradient operators. They stand apart from
/// <see cref="GradientRuleRegistry.CreateDefault"/>, whose rules give graphs that run without the library.
/// </summary>
public static class NativeGradientRules
{
    /// <summary>The rules of standard operators and these.</summary>
    public static GradientRuleRegistry CreateRegistry()
    {
        GradientRuleRegistry rules = GradientRuleRegistry.CreateDefault();
        LinearGradients.Register(rules);
        ActivationGradients.Register(rules);
        return rules;
    }
}
