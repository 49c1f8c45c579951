using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Recurrent layers.</summary>
internal static class RecurrentRules
{
    internal static void Register(OperatorRegistry registry) => registry.Add(Recurrent, "RNN", "GRU", "LSTM");

    // Layout 0: x [sequence, batch, input], y [sequence, directions, batch, hidden]; layout 1 puts the batch first.
    private static void Recurrent(OperatorCall call)
    {
        call.RequireRank(0, 3);
        bool batchFirst = call.Node.GetInt("layout", 0) != 0;
        Dimension directions = call.Node.GetString("direction", "forward") == "bidirectional" ? 2 : 1;
        Dimension hidden = call.HasAttribute("hidden_size") ? call.Node.GetInt("hidden_size", 0)
            : call.ShapeOf(2) is [_, _, var size] ? size
            : Dimension.Unknown;
        (Dimension sequence, Dimension batch) = call.ShapeOf(0) is [var first, var second, _]
            ? batchFirst ? (second, first) : (first, second)
            : (Dimension.Unknown, Dimension.Unknown);
        Shape state = batchFirst ? new(batch, directions, hidden) : new(directions, batch, hidden);
        call.Set(0, call.TypeOf(0), batchFirst ? new(batch, sequence, directions, hidden) : new(sequence, directions, batch, hidden));
        call.Set(1, call.TypeOf(0), state);
        call.Set(2, call.TypeOf(0), state);
    }
}
