namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Rules of matrix products, and of the Fourier transform, which is one.</summary>
internal static class MatMulRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        rules.Add("MatMul", MatMulGradient.Build);
        rules.Add("Gemm", GemmGradient.Build);
        rules.Add("Einsum", EinsumGradient.Build);
        rules.Add("DFT", DftGradient.Build);
    }
}
