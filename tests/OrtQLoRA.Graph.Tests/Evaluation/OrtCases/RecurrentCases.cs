using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Tests.Evaluation.OrtCases.Draw;

namespace OrtQLoRA.Graph.Tests.Evaluation.OrtCases;

internal static class RecurrentCases
{
    private const int Hidden = 3;

    public static IEnumerable<OrtCase> All() => Cells().Select(c => c with { Tolerance = 1e-5 });

    private static IEnumerable<OrtCase> Cells()
    {
        foreach ((string cell, int gates, bool hasCellState) in new[] { ("LSTM", 4, true), ("GRU", 3, false), ("RNN", 1, false) })
        {
            ReferenceTensor?[] one = Inputs(1, gates);
            ReferenceTensor?[] two = Inputs(2, gates);
            ReferenceTensor state = Floats([2, 2, Hidden], -1, 1, seed: 5);
            int outputs = hasCellState ? 3 : 2;
            yield return new(cell, one, ("hidden_size", Hidden)) { Outputs = outputs };
            yield return new(cell, one, ("hidden_size", Hidden), ("direction", "reverse")) { Outputs = outputs, Note = "reverse" };
            yield return new(cell, [.. one.Take(3)], ("hidden_size", Hidden)) { Outputs = outputs, Note = "without bias" };
            yield return new(cell, [.. two, null, state, .. hasCellState ? new[] { Floats([2, 2, Hidden], -1, 1, seed: 6) } : []], ("hidden_size", Hidden), ("direction", "bidirectional"))
            {
                Outputs = outputs,
                Note = "bidirectional",
            };
        }

        yield return new("GRU", Inputs(1, 3), ("hidden_size", Hidden), ("linear_before_reset", 1)) { Outputs = 2, Note = "reset after the product" };
    }

    private static ReferenceTensor?[] Inputs(int directions, int gates) =>
    [
        Floats([4, 2, 5], -1, 1), Floats([directions, gates * Hidden, 5], -1, 1, seed: 2), Floats([directions, gates * Hidden, Hidden], -1, 1, seed: 3),
        Floats([directions, 2 * gates * Hidden], -1, 1, seed: 4),
    ];
}
