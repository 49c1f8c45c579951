using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>What a gradient rule sees: the node, its output gradients, and a builder to emit with.</summary>
public sealed class GradientContext
{
    private readonly Func<int, bool> _needsGradient;
    private readonly IReadOnlyList<Value?> _outputGradients;

    internal GradientContext(Node node, GraphBuilder builder, IReadOnlyList<Value?> outputGradients, Func<int, bool> needsGradient)
    {
        Node = node;
        Builder = builder;
        _outputGradients = outputGradients;
        _needsGradient = needsGradient;
    }

    /// <summary>The operator call to differentiate.</summary>
    public Node Node { get; }

    /// <summary>Emits the gradient's nodes.</summary>
    public GraphBuilder Builder { get; }

    /// <summary>Gradient of the first output, which is not null whenever a rule for a single-output operator is called.</summary>
    /// <exception cref="GraphException">No gradient reaches the first output.</exception>
    public Value OutputGradient => OutputGradientOrNull(0)
        ?? throw new GraphException($"No gradient reaches the first output of {Node.Describe()}, only a later one; its gradient rule does not handle that.");

    /// <summary>The input at a position, which must be there.</summary>
    public Value Input(int index) => Node.InputOrNull(index)
        ?? throw new GraphException($"{Node.Describe()} lacks its input {index}.");

    /// <summary>The output at a position, which must be there.</summary>
    public Value Output(int index) => Node.OutputOrNull(index)
        ?? throw new GraphException($"{Node.Describe()} lacks its output {index}.");

    /// <summary>Gradient of an output, or null if none reaches it.</summary>
    public Value? OutputGradientOrNull(int index) => index < _outputGradients.Count ? _outputGradients[index] : null;

    /// <summary>Whether the walk wants the gradient of an input; a rule may save itself the others.</summary>
    public bool NeedsGradient(int index) => _needsGradient(index);
}
