using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>What a rule sees of the node that it takes apart, and the steps that many rules share.</summary>
internal sealed class DecompositionContext
{
    private readonly DecompositionState _state;

    internal DecompositionContext(Node node, DecompositionState state)
    {
        Node = node;
        _state = state;
    }

    internal Node Node { get; }

    /// <summary>The node that takes over the fused one's name; null for none.</summary>
    internal Node? StandIn { get; private set; }

    /// <summary>Emits nodes before the node, under its name.</summary>
    internal GraphBuilder Builder => _state.Builder;

    internal ShapeEmitter Shapes => _state.Shapes;

    internal Value Input(int index) => Node.InputOrNull(index) ?? throw new GraphException($"{Node.Describe()} lacks its input {index}.");

    internal Value? InputOrNull(int index) => Node.InputOrNull(index);

    internal bool IsRead(int output) => Node.OutputOrNull(output)?.IsUsed == true;

    /// <summary>
    /// A value that calls of all layers have in common, such as a mask: emitted at the first of them. Equal keys must
    /// mean equal values.
    /// </summary>
    internal Value Shared(object key, Func<Value> emit)
    {
        if (!_state.Shared.TryGetValue(key, out Value? value))
        {
            _state.Shared[key] = value = emit();
        }

        return value;
    }

    /// <summary>A key for one dimension of a value: equal for dimensions that are certain to be equal.</summary>
    internal static string DimensionKey(Value value, int axis) =>
        value.Shape is { } shape && !shape[axis].IsUnknown ? shape[axis].ToString() : $"{value.Name}:{axis}";

    /// <summary>Size of an axis where inference knows it as a number.</summary>
    internal long KnownSize(Value value, int axis, string what) => value.Shape is { } shape && shape[axis].Value is { } size
        ? size
        : throw new GraphException($"{Node.Describe()} cannot be taken apart: {what} is not known; '{value}' should have a fixed size along axis {axis}. Export the model with static sizes there.");

    /// <summary>Adds an initializer that holds another form of an initializer of the model. It takes over the name, by which a trained
    /// weight finds its way back, once nothing reads the original any more.</summary>
    internal Value Own(Value original, ITensor content)
    {
        if (content == original.Initializer)
        {
            return original;
        }

        Value own = Builder.Graph.AddInitializer(Builder.Graph.Names.Reserve(original.Name), content);
        _state.OtherForms.Add((original, own));
        return own;
    }

    /// <summary>Emits a part of an axis between constant bounds.</summary>
    internal Value Slice(Value x, long axis, long start, long end) =>
        Builder.Op("Slice", [x, Builder.Int64s(start), Builder.Int64s(end), Builder.Int64s(axis)]);

    /// <summary>Emits a part of an axis between bounds computed in the graph, int64 [1].</summary>
    internal Value Slice(Value x, long axis, Value start, Value end) => Builder.Op("Slice", [x, start, end, Builder.Int64s(axis)]);

    /// <summary>Emits parts of fixed sizes along an axis.</summary>
    internal IReadOnlyList<Value> Split(Value x, long axis, params long[] sizes) =>
        Builder.Emit("Split", "", [x, Builder.Int64s(sizes)], sizes.Length, ("axis", axis)).Outputs;

    /// <summary>Emits 0, 1, ..., n - 1, where n is int64 [1].</summary>
    internal Value Count(Value n) => Builder.Op("Range", [Builder.Scalar(0L), Builder.Squeeze(n, 0), Builder.Scalar(1L)]);

    /// <summary>Emits a sum, or the value itself without addend.</summary>
    internal Value AddIfGiven(Value x, Value? addend) => addend is null ? x : Builder.Add(x, addend);

    /// <summary>
    /// Emits the node that stands for the fused one: it takes over its name and its exporter's notes, by which modules
    /// are named.
    /// </summary>
    internal Value Standing(Value made)
    {
        Node node = made.Producer!;
        StandIn = node;
        foreach ((string key, string value) in Node.Metadata)
        {
            node.Metadata[key] = value;
        }

        return made;
    }
}
