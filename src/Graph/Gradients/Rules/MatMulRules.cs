namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Rules of matrix products.</summary>
internal static class MatMulRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        rules.Add("MatMul", MatMulGradient.Build);
        rules.Add("Gemm", GemmGradient.Build);
        rules.Add("Einsum", EinsumGradient.Build);
    }
}
