using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>What the decompositions of one graph have in common.</summary>
internal sealed class DecompositionState
{
    internal DecompositionState(OnnxGraph graph, long opset)
    {
        Builder = new GraphBuilder(graph, opset);
        Shapes = new ShapeEmitter(Builder);
    }

    internal GraphBuilder Builder { get; }

    internal ShapeEmitter Shapes { get; }

    /// <summary>Values that several calls read, by what they mean.</summary>
    internal Dictionary<object, Value> Shared { get; } = [];

    /// <summary>Initializers with the values that hold another form of them.</summary>
    internal List<(Value Original, Value Own)> OtherForms { get; } = [];
}
