using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// Takes the causal rule, key position at most query position, out of a mask <c>Where(a And b And ..., 0, low)</c>, so that no mask of
/// queries by keys has to be made and read. What is left is a condition by which keys are visible, or nothing.
/// </summary>
/// <remarks>
/// A query that sees no key, a padded place before a text, then gives 0, where the addend gave it the mean of all values. Neither means
/// anything: keys of padded places are hidden from all others, and their labels do not count.
/// </remarks>
internal sealed class CausalMask
{
    private readonly Dictionary<Value, (bool IsCausal, Value? Visible)> _known = [];

    /// <summary>Splits a mask; layers that share it share what is left.</summary>
    /// <param name="builder">Emits the conjunction of what is left.</param>
    /// <param name="mask">The addend of the scores.</param>
    /// <returns>Whether the causal rule was in it, and then the condition that is left, bool, or null for none.</returns>
    internal (bool IsCausal, Value? Visible) Split(GraphBuilder builder, Value mask)
    {
        if (!_known.TryGetValue(mask, out (bool IsCausal, Value? Visible) split))
        {
            _known[mask] = split = Find(builder, mask);
        }

        return split;
    }

    private static (bool IsCausal, Value? Visible) Find(GraphBuilder builder, Value mask)
    {
        if (PatternParts.Made(mask, "Where") is not { } choice || ConstantContent.Number(choice.Inputs[1]) != 0
            || ConstantContent.Number(choice.Inputs[2]) is not (double low and < -1e4))
        {
            return default;
        }

        List<Value> conditions = [.. Conditions(choice.Inputs[0]!)];
        if (conditions.RemoveAll(IsCausal) == 0 || conditions.Any(c => c.Shape is not { Rank: <= 4 }))
        {
            return default;
        }

        // At the mask, where all conditions are there and which comes before every reader.
        GraphBuilder at = new(builder.Graph, builder.Opset, choice) { Scope = choice.Name + "/" };
        return (true, conditions.Count == 0 ? null : conditions.Aggregate((a, b) => at.Op("And", [a, b])));
    }

    private static IEnumerable<Value> Conditions(Value condition) =>
        PatternParts.Made(condition, "And") is { } both ? Conditions(both.Inputs[0]!).Concat(Conditions(both.Inputs[1]!)) : [condition];

    private static bool IsCausal(Value condition)
    {
        Value?[] sides = condition.Producer switch
        {
            { OpType: "LessOrEqual" } node => [node.Inputs[0], node.Inputs[1]],
            { OpType: "GreaterOrEqual" } node => [node.Inputs[1], node.Inputs[0]],
            { OpType: "Not" } node when PatternParts.Made(node.Inputs[0], "Greater") is { } greater => [greater.Inputs[0], greater.Inputs[1]],
            { OpType: "Not" } node when PatternParts.Made(node.Inputs[0], "Less") is { } less => [less.Inputs[1], less.Inputs[0]],
            _ => [],
        };
        return sides is [{ } keys, { } queries]
            && keys.Shape is { Rank: > 0 } row && queries.Shape is { Rank: > 1 } column
            && (row.Rank == 1 || row[^2].Value == 1) && column[^1].Value == 1
            && Positions(keys) is { } ofKeys && Positions(queries) is { } ofQueries && ofKeys.IsSameAs(ofQueries)
            && row[^1].IsSameAs(ofKeys) && column[^2].IsSameAs(ofKeys);
    }

    /// <summary>The length of 0, 1, 2, ... that a value holds along one axis.</summary>
    private static Dimension? Positions(Value value)
    {
        Node? node = value.Producer;
        while (node is not null && (node.Is("Unsqueeze") || node.Is("Cast")))
        {
            node = node.Inputs[0]!.Producer;
        }

        return node is not null && node.Is("Range") && ConstantContent.Number(node.Inputs[0]) == 0 && ConstantContent.Number(node.Inputs[2]) == 1
            && node.Outputs[0].Shape is { Rank: 1 } shape
                ? shape[0]
                : null;
    }
}
