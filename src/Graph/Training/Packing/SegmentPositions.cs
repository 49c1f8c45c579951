using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training.Packing;

/// <summary>
/// Makes positions begin anew with every segment where the graph counts them itself. What a model knows of a place (a
/// rotation, a learned embedding) is computed for the places 0, 1, 2, ... of a row and meets the hidden states
/// somewhere; there each token takes that of its place in its segment instead: <c>T'[b, s] = T[b, position[b, s]]</c>.
/// Masks over pairs of tokens stay: only differences of places count there.
/// </summary>
internal sealed class SegmentPositions
{
    private static readonly HashSet<string> Elementwise = ["Add", "Sub", "Mul", "Div", "Where", "Pow"];

    private readonly OnnxModel _model;
    private readonly TokenFlow _flow;
    private readonly Value _tokens;
    private readonly Dictionary<(Value Table, int Rank), Value> _restarted = [];
    private readonly Dictionary<Value, Value> _running = [];
    private Value? _positions;

    internal SegmentPositions(OnnxModel model, TokenFlow flow, Value tokens)
    {
        _model = model;
        _flow = flow;
        _tokens = tokens;
    }

    /// <summary>Rewrites a node where a table of places meets hidden states.</summary>
    /// <exception cref="ConfigurationException">Positions reach the tokens in a way that cannot be taken apart.</exception>
    internal void Restart(Node node)
    {
        if (!node.Inputs.Any(_flow.IsHidden))
        {
            return;
        }

        for (int i = 0; i < node.Inputs.Count; i++)
        {
            if (node.Inputs[i] is not { } operand || _flow.IsHidden(operand))
            {
                continue;
            }

            if (_flow.IsOfPairs(node.Outputs[0]))
            {
                if (_flow.ReadsPositions(operand))
                {
                    node.SetInput(i, Running(operand));
                }
            }
            else if (_flow.CountsPlaces(operand) && HasLength(operand, node))
            {
                node.SetInput(i, Restarted(operand, node));
            }
        }
    }

    private bool HasLength(Value operand, Node node) => operand.Shape is { } shape
        ? shape.Any(_flow.IsLength)
        : throw Refusal(node, $"the shape of '{operand.Name}', which follows from positions, is not known");

    private Value Restarted(Value table, Node node)
    {
        if (!Elementwise.Contains(node.OpType) || node.Domain.Length > 0)
        {
            throw Refusal(node, $"it takes '{table.Name}', which follows from positions, by other means than a sum or a product");
        }

        if (_flow.ReadsPositions(table))
        {
            throw Refusal(node, $"'{table.Name}' follows from the input '{TokenFlow.PositionInput}' and from positions that the graph counts itself");
        }

        int rank = node.Outputs[0].Shape?.Rank ?? throw Refusal(node, "the shape of its result is not known");
        if (!_restarted.TryGetValue((table, rank), out Value? restarted))
        {
            _restarted[(table, rank)] = restarted = Gathered(table, rank, node);
        }

        return restarted;
    }

    /// <summary>The rows of a table at the positions, with the rank of what it is applied to: [batch, 1, ..., length, ...].</summary>
    private Value Gathered(Value table, int rank, Node node)
    {
        Shape shape = table.Shape!;
        int missing = rank - shape.Rank;
        int[] axes = [.. Enumerable.Range(0, shape.Rank).Where(i => _flow.IsLength(shape[i]))];
        int axis = axes[0] + missing;
        bool betweenAreOnes = Enumerable.Range(0, shape.Rank).All(i => i + missing is 0 || i + missing >= axis || shape[i].Value == 1);
        if (axes.Length != 1 || axis == 0 || !betweenAreOnes)
        {
            throw Refusal(node, $"'{table.Name}' has the shape {shape}, in which the axis of the places cannot be told or lies behind others");
        }

        GraphBuilder b = new(_model.Graph, _model.Opset, node) { Scope = "packing/" };
        bool isShared = missing > 0 || shape[0].Value == 1;
        Value tokens = _positions ??= AddPositions();
        Value rows = b.Reshape(table, isShared ? Dims(b, table, axes[0], []) : Dims(b, table, axes[0], [b.ShapeOf(table, 0, 1)]));
        Value picked;
        if (isShared)
        {
            picked = b.Op("Gather", [rows, tokens], ("axis", 0L));
        }
        else
        {
            // Padding may let positions differ from row to row; a table that is the same for all rows is repeated.
            Value whole = b.Expand(rows, b.Concat(0, b.ShapeOf(_tokens, 0, 1), b.Int64s([.. Enumerable.Repeat(1L, rank - axis)])));
            picked = b.Op("GatherND", [whole, b.Unsqueeze(tokens, -1)], ("batch_dims", 1L));
        }

        return axis == 1 ? picked : b.Unsqueeze(picked, [.. Enumerable.Range(1, axis - 1).Select(i => (long)i)]);
    }

    /// <summary>The shape of a table from its axis of places on, behind other axes.</summary>
    private static Value Dims(GraphBuilder b, Value table, int axis, IEnumerable<Value> before) =>
        b.Concat(0, [.. before, b.ShapeOf(table, axis, table.Shape!.Rank)]);

    private Value AddPositions() => _model.Graph.AddInput(ArtifactNames.SegmentPositions, DataType.Int64, _tokens.Shape);

    /// <summary>The same value computed from the places in the row instead of the positions that are fed.</summary>
    private Value Running(Value value)
    {
        if (!_flow.ReadsPositions(value))
        {
            return value;
        }

        if (!_running.TryGetValue(value, out Value? running))
        {
            _running[value] = running = value.Producer is { } node ? Copy(node, value) : Places(value);
        }

        return running;
    }

    private Value Copy(Node node, Value value)
    {
        Value?[] inputs = [.. node.Inputs.Select(i => i is null ? null : Running(i))];
        GraphBuilder b = new(_model.Graph, _model.Opset, node.Next) { Scope = "packing/" };
        Node copy = b.Emit(node.OpType, node.Domain, inputs, node.Outputs.Count, [.. node.Attributes.Select(a => (a.Key, a.Value))]);
        for (int i = 0; i < node.Outputs.Count; i++)
        {
            copy.Outputs[i].Type = node.Outputs[i].Type;
            _running[node.Outputs[i]] = copy.Outputs[i];
        }

        return _running[value];
    }

    private Value Places(Value positions)
    {
        GraphBuilder b = new(_model.Graph, _model.Opset, _model.Graph.First) { Scope = "packing/" };
        Value length = b.Squeeze(b.ShapeOf(_tokens, 1, 2), 0);
        Value places = b.Op("Range", [b.Scalar(0L), length, b.Scalar(1L)]);
        Value rows = b.Cast(b.Expand(places, b.ShapeOf(_tokens)), positions.ElementType);
        rows.Type = positions.Type;
        return rows;
    }

    private static ConfigurationException Refusal(Node node, string why) => new(
        $"--packing cannot let positions begin anew with every example: {node.Describe()} stands in the way, as {why}. Export the model with an input '{TokenFlow.PositionInput}', or train without --packing.");
}
