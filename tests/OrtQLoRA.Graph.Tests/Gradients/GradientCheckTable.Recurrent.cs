using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit.Gradients;
using static OrtQLoRA.TestKit.Gradients.GradientInput;

namespace OrtQLoRA.Graph.Tests.Gradients;

internal static partial class GradientCheckTable
{
    private const int Hidden = 3;

    private static IEnumerable<GradientRow> Recurrent()
    {
        foreach ((string cell, int gates, bool hasCellState) in new[] { ("LSTM", 4, true), ("GRU", 3, false), ("RNN", 1, false) })
        {
            int outputs = hasCellState ? 3 : 2;
            yield return new(cell, "plain", [Normal(4, 2, 5), .. Weights(1, gates, 5)], ("hidden_size", (long)Hidden)) { Outputs = outputs };
            yield return new(cell, "states only", [Normal(4, 2, 5), .. Weights(1, gates, 5)], ("hidden_size", (long)Hidden));
            yield return new(cell, "one step of one row", [Normal(1, 1, 2), .. Weights(1, gates, 2)], ("hidden_size", (long)Hidden)) { Outputs = outputs };
            yield return new(cell, "reverse", [Normal(3, 2, 4), .. Weights(1, gates, 4)], ("hidden_size", (long)Hidden), ("direction", "reverse")) { Outputs = outputs };
            yield return new(cell, "bidirectional", [Normal(4, 2, 5), .. Weights(2, gates, 5)], ("hidden_size", (long)Hidden), ("direction", "bidirectional")) { Outputs = outputs };
            yield return new(
                cell, "bidirectional from given states", [Normal(3, 2, 4), .. Weights(2, gates, 4), null, Normal(2, 2, Hidden), .. hasCellState ? new[] { Normal(2, 2, Hidden) } : []],
                ("hidden_size", (long)Hidden), ("direction", "bidirectional"))
            {
                Outputs = outputs,
            };
            yield return new(cell, "without bias", [Normal(3, 2, 4), .. Weights(1, gates, 4).Take(2)], ("hidden_size", (long)Hidden)) { Outputs = outputs };
        }

        yield return new("GRU", "reset after the product", [Normal(4, 2, 5), .. Weights(1, 3, 5)], ("hidden_size", (long)Hidden), ("linear_before_reset", 1L)) { Outputs = 2 };
        yield return new(
            "GRU", "reset after the product, bidirectional", [Normal(4, 2, 5), .. Weights(2, 3, 5), null, Normal(2, 2, Hidden)],
            ("hidden_size", (long)Hidden), ("linear_before_reset", 1L), ("direction", "bidirectional"))
        {
            Outputs = 2,
        };
        yield return new(
            "RNN", "rectified", [Normal(4, 2, 5), .. Weights(1, 1, 5)],
            ("hidden_size", (long)Hidden), ("activations", NodeAttribute.Of(ImmutableArray.Create<ReadOnlyMemory<byte>>("Relu"u8.ToArray()))))
        {
            Outputs = 2,
        };
    }

    private static GradientInput[] Weights(int directions, int gates, int width) =>
    [
        Normal(directions, gates * Hidden, width).OfKnownShape(), Normal(directions, gates * Hidden, Hidden).OfKnownShape(), Normal(directions, 2 * gates * Hidden).OfKnownShape(),
    ];
}
