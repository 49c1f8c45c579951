using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training.Packing;

/// <summary>
/// Tells the values of a decoder apart: hidden states, which depend on what the tokens are; values that count the places of
/// a row (0, 1, 2, ... and all that follows from them, rotary tables and causal masks among them); and values that follow
/// from the positions that are fed.
/// </summary>
internal sealed class TokenFlow
{
    /// <summary>The model's input of token ids [batch, length].</summary>
    internal const string TokenInput = "input_ids";

    /// <summary>The model's input of positions [batch, length], if it has one.</summary>
    internal const string PositionInput = "position_ids";

    /// <summary>Operators that hand token ids on in another form.</summary>
    private static readonly HashSet<string> Forms = ["Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Clip"];

    /// <summary>Operators whose result depends on the shape of their operand alone.</summary>
    private static readonly HashSet<string> OfShapes = ["Shape", "Size"];

    private readonly Dimension _length;
    private readonly HashSet<Value> _tokens = [];
    private readonly HashSet<Value> _hidden = [];
    private readonly HashSet<Value> _counting = [];
    private readonly HashSet<Value> _fed = [];

    /// <summary>Looks through a graph without fused attention.</summary>
    /// <param name="graph">The graph, with shapes.</param>
    /// <param name="tokens">Its token ids.</param>
    internal TokenFlow(OnnxGraph graph, Value tokens)
    {
        _length = tokens.Shape![1];
        _tokens.Add(tokens);
        foreach (Value input in graph.Inputs.Where(i => i.Name == PositionInput))
        {
            _fed.Add(input);
        }

        foreach (Node node in graph.Nodes)
        {
            Follow(node);
        }
    }

    /// <summary>Whether a value depends on what the tokens are.</summary>
    internal bool IsHidden(Value? value) => value is not null && _hidden.Contains(value);

    /// <summary>Whether a value counts the places of a row.</summary>
    internal bool CountsPlaces(Value value) => _counting.Contains(value);

    /// <summary>Whether a value follows from the positions that are fed.</summary>
    internal bool ReadsPositions(Value value) => _fed.Contains(value);

    /// <summary>Whether an axis counts the tokens of a row.</summary>
    internal bool IsLength(Dimension dimension) => dimension.IsSameAs(_length);

    /// <summary>Whether a value holds a number for each pair of tokens of a row: scores, or a mask over them.</summary>
    internal bool IsOfPairs(Value value) => value.Shape is { Rank: >= 2 } shape && IsLength(shape[-1]) && IsLength(shape[-2]);

    private void Follow(Node node)
    {
        if (OfShapes.Contains(node.OpType))
        {
            return;
        }

        Value[] inputs = [.. node.Inputs.OfType<Value>()];
        if (Array.Exists(inputs, _hidden.Contains) || LooksUpTokens(node, inputs))
        {
            _hidden.UnionWith(node.Outputs);
        }
        else if (Array.Exists(inputs, _tokens.Contains) && Forms.Contains(node.OpType))
        {
            _tokens.UnionWith(node.Outputs);
        }
        else
        {
            if (node.OpType is "Range" or "CumSum" or "NonZero" || Array.Exists(inputs, _counting.Contains) || CutsTable(node))
            {
                _counting.UnionWith(node.Outputs);
            }

            if (Array.Exists(inputs, _fed.Contains))
            {
                _fed.UnionWith(node.Outputs);
            }
        }
    }

    private bool LooksUpTokens(Node node, IEnumerable<Value> inputs) =>
        inputs.Any(_tokens.Contains) && (node.OpType is "Gather" or "GatherND" or "GatherElements" or "OneHot" || node.Domain is OperatorDomains.Microsoft);

    /// <summary>Whether a node takes as many rows of a constant table as there are tokens.</summary>
    private bool CutsTable(Node node) => node.Is("Slice") && node.Inputs[0] is { IsConstant: true }
        && node.Outputs[0].Shape is { } shape && shape.Any(IsLength);
}
