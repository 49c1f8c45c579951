namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Functions of one floating-point number.</summary>
internal static class MathKernels
{
    public static void Register(KernelRegistry registry)
    {
        foreach ((string opType, Func<double, double> function) in Functions)
        {
            registry.Add(opType, c => Elementwise.Map(c.Input(0), function));
        }
    }

    private static readonly (string OpType, Func<double, double> Function)[] Functions =
    [
        ("Sqrt", Math.Sqrt),
        ("Reciprocal", x => 1 / x),
        ("Exp", Math.Exp),
        ("Log", Math.Log),
        ("Erf", ErrorFunction.Erf),
        ("Sin", Math.Sin),
        ("Cos", Math.Cos),
        ("Tan", Math.Tan),
        ("Asin", Math.Asin),
        ("Acos", Math.Acos),
        ("Atan", Math.Atan),
        ("Sinh", Math.Sinh),
        ("Cosh", Math.Cosh),
        ("Tanh", Math.Tanh),
        ("Asinh", Math.Asinh),
        ("Acosh", Math.Acosh),
        ("Atanh", Math.Atanh),
        ("Floor", Math.Floor),
        ("Ceil", Math.Ceiling),
        ("Round", x => Math.Round(x, MidpointRounding.ToEven)),
    ];
}
