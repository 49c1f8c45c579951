namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Activation functions; the formulas are those of the operators' ONNX specifications.</summary>
internal static class ActivationKernels
{
    private const double SqrtTwoOverPi = 0.79788456080286535588;

    public static void Register(KernelRegistry registry)
    {
        registry.Add("Sigmoid", c => Map(c, Sigmoid));
        registry.Add("Softplus", c => Map(c, Softplus));
        registry.Add("Softsign", c => Map(c, x => x / (1 + Math.Abs(x))));
        registry.Add("Mish", c => Map(c, x => x * Math.Tanh(Softplus(x))));
        registry.Add("HardSwish", c => Map(c, x => x * Math.Clamp((x / 6) + 0.5, 0, 1)));
        registry.Add("LeakyRelu", c => Map(c, c.GetFloat("alpha", 0.01f), (x, alpha) => x < 0 ? alpha * x : x));
        registry.Add("Elu", c => Map(c, c.GetFloat("alpha", 1), (x, alpha) => x < 0 ? alpha * Expm1(x) : x));
        registry.Add("Celu", c => Map(c, c.GetFloat("alpha", 1), (x, alpha) => Math.Max(0, x) + Math.Min(0, alpha * Expm1(x / alpha))));
        registry.Add("ThresholdedRelu", c => Map(c, c.GetFloat("alpha", 1), (x, alpha) => x > alpha ? x : 0));
        registry.Add("Swish", c => Map(c, c.GetFloat("alpha", 1), (x, alpha) => x * Sigmoid(alpha * x)));
        registry.Add("Selu", Selu);
        registry.Add("HardSigmoid", HardSigmoid);
        registry.Add("Gelu", c => Map(c, GeluOf(c)));
    }

    public static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    /// <summary><c>0.5 x (1 + erf(x / sqrt(2)))</c>.</summary>
    public static double Gelu(double x) => 0.5 * x * (1 + ErrorFunction.Erf(x / Math.Sqrt(2)));

    /// <summary><c>0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))</c>.</summary>
    public static double GeluTanh(double x) => 0.5 * x * (1 + Math.Tanh(SqrtTwoOverPi * (x + (0.044715 * x * x * x))));

    private static ReferenceTensor Map(KernelContext c, Func<double, double> function) => Elementwise.Map(c.Input(0), function);

    private static ReferenceTensor Map(KernelContext c, double parameter, Func<double, double, double> function) =>
        Elementwise.Map(c.Input(0), x => function(x, parameter));

    private static ReferenceTensor Selu(KernelContext c)
    {
        double alpha = c.GetFloat("alpha", 1.67326319217681884765625f);
        double gamma = c.GetFloat("gamma", 1.05070102214813232421875f);
        return Elementwise.Map(c.Input(0), x => gamma * (x > 0 ? x : alpha * Expm1(x)));
    }

    private static ReferenceTensor HardSigmoid(KernelContext c)
    {
        double alpha = c.GetFloat("alpha", 0.2f);
        double beta = c.GetFloat("beta", 0.5f);
        return Elementwise.Map(c.Input(0), x => Math.Clamp((alpha * x) + beta, 0, 1));
    }

    private static Func<double, double> GeluOf(KernelContext c) => c.GetString("approximate", "none") switch
    {
        "none" => Gelu,
        "tanh" => GeluTanh,
        string other => throw c.Error($"approximate is '{other}'; it must be 'none' or 'tanh'"),
    };

    // log(1 + exp(x)) without overflow for large x.
    private static double Softplus(double x) => Math.Max(x, 0) + Log1p(Math.Exp(-Math.Abs(x)));

    // W. Kahan's forms of log(1 + x) and exp(x) - 1: the rounding errors of u cancel (Higham, Accuracy and
    // Stability of Numerical Algorithms, section 1.14.1).
    private static double Log1p(double x)
    {
        double u = 1 + x;
        return u == 1 ? x : Math.Log(u) * x / (u - 1);
    }

    private static double Expm1(double x)
    {
        double u = Math.Exp(x);
        return u == 1 ? x : u is 0 or double.PositiveInfinity ? u - 1 : (u - 1) * x / Math.Log(u);
    }
}
