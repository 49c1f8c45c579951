namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Operators that run subgraphs.</summary>
internal static class ControlFlowKernels
{
    public static void Register(KernelRegistry registry) => registry.AddMany("If", If);

    private static IReadOnlyList<ReferenceTensor?> If(KernelContext c)
    {
        string branch = c.Input(0).ToInteger() != 0 ? "then_branch" : "else_branch";
        return c.Run((c.Attribute(branch) ?? throw c.Error($"the attribute {branch} is missing")).AsGraph());
    }
}
