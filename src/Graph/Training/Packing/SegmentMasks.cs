using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training.Packing;

/// <summary>
/// Lets tokens see only tokens of their own segment: the mask of each attention closes every pair of tokens of two segments. A mask
/// that is there already is changed once and shared by its layers, so that patterns of attention stay as exporters write them.
/// </summary>
internal sealed class SegmentMasks
{
    private readonly OnnxModel _model;
    private readonly TokenFlow _flow;
    private readonly Value _segments;
    private readonly Value _tokens;
    private readonly Dictionary<(Value? Mask, string Form, int Rank), Value> _masks = [];
    private readonly Dictionary<int, Value> _together = [];

    /// <summary>Prepares the masks.</summary>
    /// <param name="model">The model.</param>
    /// <param name="flow">Its values.</param>
    /// <param name="tokens">Token ids [batch, length].</param>
    /// <param name="segments">int64 [batch, length], the number of each token's segment.</param>
    internal SegmentMasks(OnnxModel model, TokenFlow flow, Value tokens, Value segments)
    {
        _model = model;
        _flow = flow;
        _tokens = tokens;
        _segments = segments;
    }

    /// <summary>Closes other segments before a softmax, if it is one over scores of tokens.</summary>
    /// <returns>Whether it is.</returns>
    /// <exception cref="ConfigurationException">The scores are of a form that is not known.</exception>
    internal bool Close(Node softmax)
    {
        Value scores = softmax.Inputs[0]!;
        if (!_flow.IsHidden(scores) || scores.Shape is { } shape && !shape.Any(_flow.IsLength))
        {
            return false;
        }

        long axis = softmax.GetInt("axis", -1);
        bool runsOverLast = axis == -1 || axis == scores.Shape?.Rank - 1;
        if (scores.Shape is null || !runsOverLast)
        {
            throw Refusal(softmax, scores.Shape is null ? "the shape of its operand is not known" : "it runs over another axis than the last");
        }

        return Close(scores) || (IsOverOther(scores) ? false : throw Refusal(softmax, $"its operand '{scores.Name}' has the shape {scores.Shape}, which is none of tokens by tokens"));
    }

    /// <summary>Closes the pairs of a value of scores, or of the scores that it is made of; false if there are none.</summary>
    private bool Close(Value scores)
    {
        if (_flow.IsOfPairs(scores))
        {
            ClosePairs(scores);
            return true;
        }

        // Scores beside an attention sink, or less their maximum.
        return scores.Producer is { OpType: "Concat" or "Sub" or "Cast" or "Slice" } node
            && node.Inputs.OfType<Value>().Where(_flow.IsHidden).ToArray().Aggregate(false, (any, i) => Close(i) || any);
    }

    private void ClosePairs(Value scores)
    {
        if (scores.Shape!.Rank >= 4 && scores.Producer is { } node)
        {
            if (node.Is("Sub") && node.Inputs[0] is { } shifted && _flow.IsOfPairs(shifted))
            {
                ClosePairs(shifted);
                return;
            }

            if (CloseMask(node))
            {
                return;
            }
        }

        GraphBuilder b = new(_model.Graph, _model.Opset, scores.Producer!.Next) { Scope = "packing/" };
        HashSet<Node> own = [];
        Value closed = scores.Shape.Rank >= 4 ? b.Add(scores, Bias(scores, b)) : AddFlat(scores, b);
        for (Node? made = closed.Producer; made is not null && made != scores.Producer; made = made.Previous)
        {
            own.Add(made);
        }

        closed.Type = scores.Type;
        scores.ReplaceAllUsesWith(closed, own);
    }

    /// <summary>Changes the mask that a node adds to scores or chooses by; false if it does neither.</summary>
    private bool CloseMask(Node node)
    {
        if (node.Is("Add"))
        {
            int mask = _flow.IsHidden(node.Inputs[0]) ? 1 : 0;
            if (node.Inputs[mask] is { } addend && !_flow.IsHidden(addend) && addend.ElementType.IsFloatingPoint() && addend.Shape is { } shape && shape.Rank <= node.Outputs[0].Shape!.Rank)
            {
                node.SetInput(mask, Masked(addend, "addend", node, (b, same) => b.Where(same, addend, b.ScalarLike(addend, Lowest(addend.ElementType)))));
                return true;
            }
        }

        if (node.Is("Where") && node.Inputs[0] is { } condition && !_flow.IsHidden(condition))
        {
            bool keepsFirst = _flow.IsHidden(node.Inputs[1]);
            Value? other = node.Inputs[keepsFirst ? 2 : 1];
            if (!_flow.IsHidden(other) && ConstantContent.Number(other) is < -1e4)
            {
                node.SetInput(0, Masked(condition, keepsFirst ? "open" : "closed", node, (b, same) => keepsFirst
                    ? b.Op("And", [condition, same])
                    : b.Op("Or", [condition, b.Op("Not", [same])])));
                return true;
            }
        }

        return false;
    }

    private Value Masked(Value mask, string form, Node node, Func<GraphBuilder, Value, Value> close)
    {
        int rank = node.Outputs[0].Shape!.Rank;
        if (!_masks.TryGetValue((mask, form, rank), out Value? closed))
        {
            GraphBuilder b = new(_model.Graph, _model.Opset, node) { Scope = "packing/" };
            _masks[(mask, form, rank)] = closed = close(b, Together(rank));
        }

        return closed;
    }

    private Value Bias(Value scores, GraphBuilder b)
    {
        (Value?, string, int) key = (null, scores.ElementType.ToString(), scores.Shape!.Rank);
        if (!_masks.TryGetValue(key, out Value? bias))
        {
            Value same = Together(scores.Shape.Rank);
            _masks[key] = bias = b.Where(same, b.ScalarLike(scores, 0), b.ScalarLike(scores, Lowest(scores.ElementType)));
        }

        return bias;
    }

    // Scores [batch * heads, length, length] get an axis of their own for the batch.
    private Value AddFlat(Value scores, GraphBuilder b)
    {
        Value length = b.ShapeOf(_tokens, 1, 2);
        Value apart = b.Reshape(scores, b.Concat(0, b.ShapeOf(_tokens, 0, 1), b.Int64s(-1), length, length));
        apart.Type = new OnnxType.Tensor(scores.ElementType, new Shape(_tokens.Shape![0], Dimension.Unknown, _tokens.Shape[1], _tokens.Shape[1]));
        return b.Reshape(b.Add(apart, Bias(apart, b)), b.ShapeOf(scores));
    }

    /// <summary>Whether two tokens are of one segment: bool [batch, 1, ..., length, length].</summary>
    private Value Together(int rank)
    {
        if (!_together.TryGetValue(rank, out Value? together))
        {
            GraphBuilder b = new(_model.Graph, _model.Opset, _model.Graph.First) { Scope = "packing/" };
            long[] heads = [.. Enumerable.Range(1, rank - 3).Select(i => (long)i)];
            _together[rank] = together = b.Op("Equal", [b.Unsqueeze(_segments, [.. heads, rank - 1]), b.Unsqueeze(_segments, [.. heads, rank - 2])]);
        }

        return together;
    }

    // Among tokens and features, such as a router's over experts: no token takes part in another one's.
    private bool IsOverOther(Value scores) => !_flow.IsLength(scores.Shape![-1]) && scores.Shape[-1].IsKnown;

    private static double Lowest(DataType type) => type == DataType.Float16 ? -65504 : float.MinValue;

    private static ConfigurationException Refusal(Node node, string why) =>
        new($"--packing cannot keep examples of one row apart at {node.Describe()}: {why}. Export the model with a dynamic sequence axis, or train without --packing.");
}
