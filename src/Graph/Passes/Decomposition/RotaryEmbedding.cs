using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>RotaryEmbedding of ONNX Runtime and of ONNX (opset 23), which order their inputs differently.</summary>
internal static class RotaryEmbedding
{
    // Inputs: x, positions, cos, sin.
    internal static IReadOnlyList<Value?> Microsoft(DecompositionContext c)
    {
        Value cos = c.Input(2);
        long rotated = 2 * c.KnownSize(cos, 1, "the width of the rotary tables");
        Value x = c.Input(0);
        bool isFlat = x.Shape!.Rank == 3;
        long heads = c.Node.GetInt("num_heads", 0);
        if (isFlat && (heads == 0 || c.Node.GetInt("rotary_embedding_dim", 0) == 0))
        {
            // Without a rotary_embedding_dim of its own the whole head rotates, and the table tells its size.
            heads = c.KnownSize(x, 2, "the width of the input") / rotated;
        }

        Value apart = isFlat ? HeadLayout.Apart(c, x, heads) : x;
        (cos, Value sin) = RotaryTables.At(c, cos, c.Input(3), c.Input(1), apart, lengthAxis: 2);
        Value y = Rotation.Apply(c, apart, cos, sin, c.Node.GetInt("interleaved", 0) != 0);
        return [isFlat ? HeadLayout.Together(c, y, heads) : y];
    }

    // Inputs: x, cos, sin, positions; without positions the tables hold the rows of each token already.
    internal static IReadOnlyList<Value?> Onnx(DecompositionContext c)
    {
        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        long heads = c.Node.GetInt("num_heads", 0);
        bool isFlat = x.Shape!.Rank == 3;
        Value apart = isFlat ? HeadLayout.Apart(c, x, heads) : x;
        (Value cos, Value sin) = (c.Input(1), c.Input(2));
        (cos, sin) = c.InputOrNull(3) is { } positions
            ? RotaryTables.At(c, cos, sin, positions, apart, lengthAxis: 2)
            : (Rows(cos), Rows(sin));
        Value y = Rotation.Apply(c, apart, cos, sin, c.Node.GetInt("interleaved", 0) != 0);
        return [isFlat ? HeadLayout.Together(c, y, heads) : y];

        Value Rows(Value table) => c.Shared(("rows", table.Name), () => b.Unsqueeze(table, 1));
    }

    internal static string? Refusal(Node node) =>
        node.InputOrNull(0)?.Shape is not { Rank: 3 or 4 } shape ? "the rank of its input, which tells whether heads are apart, is not 3 or 4"
        : node.Is("RotaryEmbedding") && shape.Rank == 3 && node.GetInt("num_heads", 0) <= 0 ? "its input has rank 3, but attribute 'num_heads' is missing"
        : node.Is("RotaryEmbedding") && node.GetInt("rotary_embedding_dim", 0) is > 0 and var size && node.InputOrNull(1)?.Shape?[-1].Value is { } half && size != 2 * half ? $"attribute 'rotary_embedding_dim' is {size}, but its tables are {half} wide instead of {size / 2}"
        : null;
}
