namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Fused operators of ONNX Runtime (domain com.microsoft) that optimised graphs contain.</summary>
internal static class ContribKernels
{
    private const string Domain = "com.microsoft";

    public static void Register(KernelRegistry registry)
    {
        registry.Add("Gelu", c => Elementwise.Map(c.Input(0), ActivationKernels.Gelu), Domain);
        registry.Add("BiasGelu", c => Elementwise.Map(WithBias(c), ActivationKernels.Gelu), Domain);
        registry.Add("FastGelu", c => Elementwise.Map(WithBias(c), ActivationKernels.GeluTanh), Domain);
        registry.Add("QuickGelu", QuickGelu, Domain);
    }

    private static ReferenceTensor WithBias(KernelContext c) => c.InputOrNull(1) is { } bias
        ? Elementwise.Zip(c, c.Input(0), bias, (x, b) => x + b, (_, x, b) => x + b)
        : c.Input(0);

    private static ReferenceTensor QuickGelu(KernelContext c)
    {
        double alpha = c.GetFloat("alpha", 1.702f);
        return Elementwise.Map(c.Input(0), x => x * ActivationKernels.Sigmoid(alpha * x));
    }
}
