using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>What a gradient rule sees: the node, its output gradients, and helpers to emit with.</summary>
public sealed class GradientContext
{
    private readonly Func<int, bool> _needsGradient;
    private readonly IReadOnlyList<Value?> _outputGradients;

    internal GradientContext(Node node, GradientForms forms, IReadOnlyList<Value?> outputGradients, Func<int, bool> needsGradient)
    {
        Node = node;
        Forms = forms;
        _outputGradients = outputGradients;
        _needsGradient = needsGradient;
    }

    /// <summary>The operator call to differentiate.</summary>
    public Node Node { get; }

    /// <summary>Emits the gradient's nodes.</summary>
    public GraphBuilder Builder => Forms.Builder;

    /// <summary>Gradient of the first output, in that output's shape.</summary>
    /// <exception cref="GraphException">No gradient reaches the first output.</exception>
    public Value OutputGradient => OutputGradientOrNull(0) ?? throw NoFirstGradient();

    /// <summary>
    /// Gradient of the first output, possibly in a smaller shape that broadcasts to it. For rules that multiply it
    /// by a tensor of the output's full shape: the product is full-size anyway.
    /// </summary>
    /// <exception cref="GraphException">No gradient reaches the first output.</exception>
    public Value BroadcastableOutputGradient => Forms.BeforeExpand(OutputGradient);

    internal GradientForms Forms { get; }

    /// <summary>The input at a position, which must be there.</summary>
    public Value Input(int index) => Node.InputOrNull(index)
        ?? throw new GraphException($"{Node.Describe()} lacks its input {index}.");

    /// <summary>The output at a position, which must be there.</summary>
    public Value Output(int index) => Node.OutputOrNull(index)
        ?? throw new GraphException($"{Node.Describe()} lacks its output {index}.");

    /// <summary>Gradient of an output, or null if none reaches it.</summary>
    public Value? OutputGradientOrNull(int index) => index < _outputGradients.Count ? _outputGradients[index] : null;

    /// <summary>
    /// Gradient of the first output to combine, element by element, with an input. If that has the output's full shape, so
    /// has the result, and the gradient may be <see cref="BroadcastableOutputGradient"/>.
    /// </summary>
    public Value GradientToCombineWith(Value input) =>
        input.Shape is { } shape && shape.IsSameAs(Output(0).Shape) ? BroadcastableOutputGradient : OutputGradient;

    /// <summary>Whether the walk wants the gradient of an input; a rule may save itself the others.</summary>
    public bool NeedsGradient(int index) => _needsGradient(index);

    /// <summary>One entry per input, all null but the given ones at the first positions.</summary>
    public IReadOnlyList<Value?> Gradients(params ReadOnlySpan<Value?> first)
    {
        Value?[] gradients = new Value?[Node.Inputs.Count];
        first[..Math.Min(first.Length, gradients.Length)].CopyTo(gradients);
        return gradients;
    }

    /// <summary>One entry per input: <paramref name="rule"/> of its position where a gradient is needed, else null.</summary>
    public IReadOnlyList<Value?> ForEachNeeded(Func<int, Value?> rule) =>
        [.. Enumerable.Range(0, Node.Inputs.Count).Select(i => NeedsGradient(i) ? rule(i) : null)];

    /// <summary>Rank of a value.</summary>
    /// <exception cref="GraphException">It is not known.</exception>
    public int Rank(Value value) => value.Shape?.Rank ?? throw new GraphException(
        $"The gradient of {Node.Describe()} needs the rank of '{value.Name}', which is not known. Run shape inference before the gradient is built; if it cannot tell, give the model's inputs shapes.");

    /// <summary>An axis of a value counted from the front.</summary>
    /// <exception cref="GraphException">The axis lies outside the value's rank, or the rank is not known.</exception>
    public int Axis(long axis, Value value)
    {
        int rank = Rank(value);
        long fromFront = axis < 0 ? axis + rank : axis;
        return fromFront >= 0 && fromFront < rank
            ? (int)fromFront
            : throw new GraphException($"{Node.Describe()} has the axis {axis}, which '{value}' of rank {rank} does not have.");
    }

    /// <summary>The integers of a constant input, or null if the input is left out or not constant.</summary>
    public long[]? ConstantInts(int index) => ConstantContent.Int64s(Node.InputOrNull(index));

    /// <summary>
    /// The number in a constant input of one element. Null if it is left out, not constant, or itself to be
    /// differentiated by: then it may change.
    /// </summary>
    public double? ConstantNumber(int index) => index < Node.Inputs.Count && NeedsGradient(index) ? null : ConstantContent.Number(Node.InputOrNull(index));

    /// <summary>Sums a gradient over the axes along which a value was broadcast.</summary>
    public Value SumTo(Value gradient, Value target) => Forms.SumTo(gradient, target);

    /// <summary>Gives a tensor the shape of another with as many elements.</summary>
    public Value ReshapeLike(Value value, Value target) => Forms.Shapes.ReshapeLike(value, target);

    /// <summary>Broadcasts a tensor to the shape of another.</summary>
    public Value ExpandLike(Value value, Value like) => Forms.ExpandLike(value, like);

    /// <summary>Zeros of the shape and type of a value.</summary>
    public Value ZerosLike(Value like) => Forms.ZerosLike(like);

    /// <summary>The dimensions of a value, int64 [rank]; constant where they are known.</summary>
    public Value ShapeOf(Value value) => Forms.Shapes.Of(value);

    /// <summary>One dimension of a value, int64 [1]; constant where it is known.</summary>
    public Value DimensionOf(Value value, int axis) => Forms.Shapes.Dimension(value, axis);

    /// <summary>Transposes; transpositions that cancel leave no node.</summary>
    public Value Transpose(Value value, params long[] perm) => Forms.Transpose(value, perm);

    /// <summary>
    /// An output of the forward node that the model does not use yet (for example the mask of a Dropout): asks
    /// the forward pass for it.
    /// </summary>
    /// <param name="index">Position of the output.</param>
    /// <param name="suffix">What the output is, for its name.</param>
    /// <param name="type">Its type.</param>
    public Value RequireOutput(int index, string suffix, OnnxType type)
    {
        if (Node.OutputOrNull(index) is { } known)
        {
            return known;
        }

        string stem = Node.Outputs.FirstOrDefault(o => o.Name.Length > 0)?.Name ?? Node.Name;
        if (index < Node.Outputs.Count)
        {
            Value leftOut = Node.Outputs[index];
            string name = Builder.Graph.Names.Reserve($"{stem}_{suffix}");
            Builder.Graph.Names.Release(name);
            leftOut.Name = name;
            leftOut.Type = type;
            return leftOut;
        }

        while (Node.Outputs.Count < index)
        {
            Node.AddOutput("");
        }

        return Node.AddOutput(Builder.Graph.Names.Reserve($"{stem}_{suffix}"), type);
    }

    /// <summary>An error that says that the rule does not handle this form of the operator.</summary>
    /// <param name="what">What is not handled, as a clause: "its mode is 'training'".</param>
    /// <param name="remedy">What to do about it, as a sentence.</param>
    public UnsupportedOpException Unsupported(string what, string remedy) => new(
        $"The gradient of {Node.Describe()} (opset {Builder.Opset}) is not supported: {what}. {remedy}");

    private GraphException NoFirstGradient() => new(
        $"No gradient reaches the first output of {Node.Describe()}, only a later one; its gradient rule does not handle that.");
}
