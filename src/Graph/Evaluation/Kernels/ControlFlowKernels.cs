using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Operators that run subgraphs.</summary>
internal static class ControlFlowKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.AddMany("If", If);
        registry.AddMany("Scan", Scan);
    }

    private static IReadOnlyList<ReferenceTensor?> If(KernelContext c)
    {
        string branch = c.Input(0).ToInteger() != 0 ? "then_branch" : "else_branch";
        return c.Run(Subgraph(c, branch));
    }

    private static ReferenceTensor?[] Scan(KernelContext c)
    {
        if (c.GetInts("scan_input_axes")?.Any(a => a != 0) == true || c.GetInts("scan_output_axes")?.Any(a => a != 0) == true)
        {
            throw c.Unsupported("it scans along an axis other than the first");
        }

        OnnxGraph body = Subgraph(c, "body");
        int scanned = (int)c.GetInt("num_scan_inputs", 0);
        int states = c.Inputs.Count - scanned;
        int steps = (int)c.Input(states).Dims[0];
        bool IsReversed(string directions, int i) => c.GetInts(directions) is { } given && given[i] != 0;

        ReferenceTensor?[] carried = [.. Enumerable.Range(0, states).Select(c.Input)];
        List<ReferenceTensor?[]> made = [];
        for (int step = 0; step < steps; step++)
        {
            IEnumerable<ReferenceTensor> parts = Enumerable.Range(0, scanned)
                .Select(i => Part(c.Input(states + i), IsReversed("scan_input_directions", i) ? steps - 1 - step : step));
            ReferenceTensor?[] results = [.. c.Run(body, [.. carried, .. parts])];
            carried = results[..states];
            made.Add(results[states..]);
        }

        return
        [
            .. carried,
            .. Enumerable.Range(0, body.Outputs.Count - states).Select(i =>
            {
                ReferenceTensor[] parts = [.. made.Select(m => m[i]!)];
                if (IsReversed("scan_output_directions", i))
                {
                    Array.Reverse(parts);
                }

                return parts.Length == 0
                    ? throw c.Unsupported("it has no step")
                    : ReferenceTensor.Chain(parts).Reshaped([parts.Length, .. parts[0].Dims]);
            }),
        ];
    }

    private static ReferenceTensor Part(ReferenceTensor sequence, int step)
    {
        int size = Indexing.Count(sequence.Dims[1..]);
        return sequence.Take(sequence.Dims[1..], [.. Enumerable.Range(step * size, size)]);
    }

    private static OnnxGraph Subgraph(KernelContext c, string name) => (c.Attribute(name) ?? throw c.Error($"the attribute {name} is missing")).AsGraph();
}
