using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Attention and rotary embeddings, ONNX's own (opset 23 and later) and ONNX Runtime's.</summary>
internal static class AttentionRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(Attention, "Attention");
        registry.Add(ElementwiseRules.LikeFirstInput, "RotaryEmbedding");
        registry.AddTo(OperatorDomains.Microsoft, ElementwiseRules.LikeFirstInput, "RotaryEmbedding", "GemmaRotaryEmbedding");
        registry.AddTo(OperatorDomains.Microsoft, PackedAttention, "Attention");
        registry.AddTo(OperatorDomains.Microsoft, MultiHeadAttention, "MultiHeadAttention");
        registry.AddTo(OperatorDomains.Microsoft, GroupQueryAttention, "GroupQueryAttention");
    }

    // q, k, v: [batch, heads, length, size], or [batch, length, heads * size] with the head counts as attributes.
    private static void Attention(OperatorCall call)
    {
        Shape? query = Heads(call, 0, "q_num_heads");
        Shape? key = Heads(call, 1, "kv_num_heads");
        Shape? value = Heads(call, 2, "kv_num_heads");
        Dimension total = Total(key?[2] ?? Dimension.Unknown, PastLength(call, 4));
        if (query is null || key is null || value is null)
        {
            call.Set(0, call.TypeOf(0), null);
            call.Set(1, call.TypeOf(1), null);
            call.Set(2, call.TypeOf(2), null);
            call.Set(3, call.TypeOf(0), null);
            return;
        }

        call.RequireEqual(query[3], key[3], "head sizes of query and key");
        call.Set(0, call.TypeOf(0), call.ShapeOf(0)!.Rank == 4
            ? new Shape(query[0], query[1], query[2], value[3])
            : new Shape(query[0], query[2], (query[1].ToExpression() * value[3].ToExpression()).ToDimensionOrUnknown()));
        call.Set(1, call.TypeOf(1), new Shape(key[0], key[1], total, key[3]));
        call.Set(2, call.TypeOf(2), new Shape(value[0], value[1], total, value[3]));
        call.Set(3, call.TypeOf(0), new Shape(query[0], query[1], query[2], total));
    }

    private static Shape? Heads(OperatorCall call, int input, string headsAttribute)
    {
        switch (call.ShapeOf(input))
        {
            case { Rank: 4 } shape:
                return shape;
            case [var batch, var length, var width] when call.Node.GetInt(headsAttribute, 0) is long heads and > 0:
                return new Shape(batch, heads, length, SymbolicExpression.FloorDivide(width.ToExpression(), SymbolicExpression.Of(heads)).ToDimensionOrUnknown());
            case null:
                return null;
            default:
                throw call.Error($"input {input}, {call.Node.Inputs[input]}, must have rank 4, or rank 3 with attribute '{headsAttribute}'");
        }
    }

    // input [batch, sequence, in], weights [in, q + k + v], past [2, batch, heads, length, size].
    private static void PackedAttention(OperatorCall call)
    {
        Shape? input = call.ShapeOf(0);
        Dimension packed = call.ShapeOf(1) is [_, var columns] ? columns : call.ShapeOf(2) is [var entries] ? entries : Dimension.Unknown;
        Dimension width = call.Node.GetInts("qkv_hidden_sizes") is [_, _, long v] ? v : Divide(packed, 3);
        (Dimension batchSize, Dimension length) = input is [var rows, var steps, _] ? (rows, steps) : (Dimension.Unknown, Dimension.Unknown);
        call.Set(0, call.TypeOf(0), new Shape(batchSize, length, width));
        Dimension past = !call.HasInput(4) ? 0 : call.ShapeOf(4) is [_, _, _, var cached, _] ? cached : Dimension.Unknown;
        Dimension heads = call.Node.GetInt("num_heads", 0) is long count and > 0 ? count : Dimension.Unknown;
        Dimension total = call.Node.GetInt("past_present_share_buffer", 0) != 0 ? past : Total(length, past);
        call.Set(1, call.TypeOf(0), new Shape(2, batchSize, heads, total, heads.Value is long n ? Divide(width, n) : Dimension.Unknown));
    }

    // query [batch, sequence, width]; key and value [batch, length, width] or [batch, heads, length, size], or packed
    // into the query as [batch, sequence, heads, 3, size].
    private static void MultiHeadAttention(OperatorCall call)
    {
        long heads = Math.Max(call.Node.GetInt("num_heads", 1), 1);
        Shape? query = call.ShapeOf(0);
        (Dimension batch, Dimension sequence) = query is [var rows, var steps, ..] ? (rows, steps) : (Dimension.Unknown, Dimension.Unknown);
        (Dimension length, Dimension size) = query is { Rank: 5 } ? (query[1], query[4])
            : call.ShapeOf(2) switch
            {
                [_, var l, var width] => (l, Divide(width, heads)),
                [_, _, var l, var s] => (l, s),
                _ when call.ShapeOf(1) is [_, var l, _, _, var s] => (l, s),
                _ => (Dimension.Unknown, Dimension.Unknown),
            };
        Dimension total = Total(length, PastLength(call, 6));
        call.Set(0, call.TypeOf(0), new Shape(batch, sequence, (size.ToExpression() * SymbolicExpression.Of(heads)).ToDimensionOrUnknown()));
        call.Set(1, call.TypeOf(0), new Shape(batch, heads, total, size));
        call.Set(2, call.TypeOf(0), new Shape(batch, heads, total, size));
    }

    // query [batch, sequence, heads * size], or with key and value packed behind it; caches [batch, kv_heads, length, size].
    private static void GroupQueryAttention(OperatorCall call)
    {
        Shape? query = call.ShapeOf(0);
        long heads = Math.Max(call.Node.GetInt("num_heads", 1), 1);
        long cached = Math.Max(call.Node.GetInt("kv_num_heads", 1), 1);
        Dimension computed = query is [_, _, var width] ? Divide(width, call.HasInput(1) ? heads : heads + (2 * cached)) : Dimension.Unknown;
        Dimension size = computed.Value is null && call.ShapeOf(3) is [_, _, _, var past] ? past : computed;
        (Dimension batch, Dimension sequence) = query is [var rows, var steps, _] ? (rows, steps) : (Dimension.Unknown, Dimension.Unknown);
        call.Set(0, call.TypeOf(0), new Shape(batch, sequence, (size.ToExpression() * SymbolicExpression.Of(heads)).ToDimensionOrUnknown()));

        // How far the caches reach is data: the greater of the past's length and total_sequence_length.
        Dimension total = call.ContentOf(6) is { Count: 1 } length && call.ShapeOf(3) is { Rank: 4 } buffer
            ? SymbolicExpression.Max(length[0], buffer[2].ToExpression()).ToDimensionOrUnknown()
            : Dimension.Unknown;
        call.Set(1, call.TypeOf(0), new Shape(batch, cached, total, size));
        call.Set(2, call.TypeOf(0), new Shape(batch, cached, total, size));
    }

    private static Dimension PastLength(OperatorCall call, int input) =>
        !call.HasInput(input) ? 0 : call.ShapeOf(input) is [_, _, var length, _] ? length : Dimension.Unknown;

    private static Dimension Divide(Dimension dimension, long divisor) =>
        SymbolicExpression.FloorDivide(dimension.ToExpression(), SymbolicExpression.Of(divisor)).ToDimensionOrUnknown();

    private static Dimension Total(Dimension length, Dimension past) => (length.ToExpression() + past.ToExpression()).ToDimensionOrUnknown();
}
