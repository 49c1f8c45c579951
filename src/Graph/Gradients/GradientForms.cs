using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>
/// Emits gradients that have structure (broadcasts, zero-padded parts, scatters into zeros, transpositions) and remembers
/// it, so that whoever reads such a gradient next can avoid the full-size tensor: <see cref="GradientSum"/> joins
/// padded parts by a concatenation and scatters onto what is there already, and pointwise rules multiply by a gradient
/// before it is broadcast. Whatever is bypassed ends up unread and is removed when the walk is done.
/// </summary>
internal sealed class GradientForms
{
    private readonly Dictionary<Value, Value> _expanded = [];
    private readonly Dictionary<Value, PaddedPart> _padded = [];
    private readonly Dictionary<Value, ScatteredGradient> _scattered = [];

    public GradientForms(GraphBuilder builder)
    {
        Builder = builder;
        Shapes = new ShapeEmitter(builder);
    }

    public GraphBuilder Builder { get; }

    public ShapeEmitter Shapes { get; }

    /// <summary>Sums a gradient down to the shape of a value that was broadcast.</summary>
    public Value SumTo(Value gradient, Value target) => Unbroadcast.SumTo(Builder, Shapes, gradient, target);

    /// <summary>Zeros of the shape and type of a value.</summary>
    public Value ZerosLike(Value like) => Typed(
        Builder.Op("ConstantOfShape", [Shapes.Of(like)], ("value", Constants.Filled(like.ElementType, 0))), like);

    /// <summary>Broadcasts a value to the shape of another.</summary>
    public Value ExpandLike(Value value, Value like)
    {
        if (value.Shape is { } shape && shape.IsSameAs(like.Shape))
        {
            return value;
        }

        Value expanded = Builder.Expand(value, Shapes.Of(like));
        expanded.Type = new OnnxType.Tensor(value.ElementType, like.Shape);
        _expanded[expanded] = value;
        return expanded;
    }

    /// <summary>What a gradient was broadcast from; the gradient itself if it was not.</summary>
    public Value BeforeExpand(Value gradient) => _expanded.GetValueOrDefault(gradient, gradient);

    /// <summary>Whether <see cref="BeforeExpand"/> finds something smaller.</summary>
    public bool IsExpanded(Value gradient) => _expanded.ContainsKey(gradient);

    /// <summary>Puts a part back into zeros of the shape of <paramref name="whole"/>.</summary>
    /// <param name="part">Elements <paramref name="before"/> onwards along the axis.</param>
    /// <param name="whole">The value that the part was cut from; the dimension along the axis is known.</param>
    /// <param name="axis">Axis, counted from the front.</param>
    /// <param name="before">Number of zeros before the part.</param>
    /// <param name="length">Length of the part.</param>
    public Value PadPart(Value part, Value whole, int axis, long before, long length)
    {
        long after = whole.Shape![axis].Value!.Value - before - length;
        if (before == 0 && after == 0)
        {
            return part;
        }

        Value padded = Typed(Builder.Op("Pad", [part, Builder.Int64s(before, after), null, Builder.Int64s(axis)]), whole);
        _padded[padded] = new PaddedPart(part, axis, before, length, after);
        return padded;
    }

    /// <summary>The part that a gradient holds amid zeros, if it was made by <see cref="PadPart"/>.</summary>
    public bool TryGetPaddedPart(Value gradient, out PaddedPart part) => _padded.TryGetValue(gradient, out part);

    /// <summary>Adds updates into zeros of the shape of a value, element by element along an axis.</summary>
    /// <param name="like">The value whose gradient this is.</param>
    /// <param name="indices">Where each update goes along the axis; int32 or int64 of the updates' shape.</param>
    /// <param name="updates">What is added there.</param>
    /// <param name="axis">Axis, counted from the front.</param>
    /// <remarks>ScatterElements is sequential in ONNX Runtime, so that repeated indices add up in a fixed order.</remarks>
    public Value ScatterElementsIntoZeros(Value like, Value indices, Value updates, int axis)
    {
        Value Onto(Value onto) => Typed(
            Builder.Op("ScatterElements", [onto, indices, updates], ("axis", axis), ("reduction", "add")), like);
        Value gradient = Onto(ZerosLike(like));
        _scattered[gradient] = new ScatteredGradient(Onto, axis, updates);
        return gradient;
    }

    /// <summary>Adds rows into zeros of the shape of a value.</summary>
    /// <param name="like">The value whose gradient this is, seen as a matrix of <paramref name="rowCount"/> rows.</param>
    /// <param name="rowCount">Number of rows, int64 [1].</param>
    /// <param name="indices">The row that each update goes to, int64 [n].</param>
    /// <param name="updates">What is added, [n, elements of a row].</param>
    public Value AddRowsIntoZeros(Value like, Value rowCount, Value indices, Value updates)
    {
        Value gradient = RowScatter.Emit(this, null, like, rowCount, indices, updates);
        _scattered[gradient] = new ScatteredGradient(onto => RowScatter.Emit(this, onto, like, rowCount, indices, updates), null, updates);
        return gradient;
    }

    /// <summary>How a gradient was scattered into zeros, if it was.</summary>
    public bool TryGetScattered(Value gradient, out ScatteredGradient scattered) => _scattered.TryGetValue(gradient, out scattered);

    /// <summary>
    /// Transposes; a transposition of a transposition becomes one of its input, or the input itself if they cancel.
    /// </summary>
    public Value Transpose(Value value, long[] perm)
    {
        if (value.Producer is { } producer && producer.Is("Transpose") && value.Graph == producer.InputOrNull(0)?.Graph
            && producer.GetInts("perm") is { } inner && inner.Length == perm.Length)
        {
            // Axis i of the result is axis perm[i] of the value, which is axis inner[perm[i]] of its input.
            long[] joined = [.. perm.Select(p => inner[p])];
            Value source = producer.InputOrNull(0)!;
            if (IsIdentity(joined))
            {
                return source;
            }

            if (producer.Outputs[0].Uses.Count == 0)
            {
                // Nobody else reads the inner transposition: do both at once.
                return Builder.Transpose(source, joined);
            }
        }

        return IsIdentity(perm) ? value : Builder.Transpose(value, perm);
    }

    /// <summary>Swaps the last two axes of a value of a known rank.</summary>
    public Value SwapLastTwo(Value value, int rank)
    {
        long[] perm = [.. Enumerable.Range(0, rank).Select(i => (long)i)];
        (perm[^1], perm[^2]) = (perm[^2], perm[^1]);
        return Transpose(value, perm);
    }

    private static bool IsIdentity(long[] perm) => !perm.Where((p, i) => p != i).Any();

    private static Value Typed(Value value, Value like)
    {
        value.Type = like.Type;
        return value;
    }
}
