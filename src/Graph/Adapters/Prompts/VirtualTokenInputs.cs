using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>
/// Makes a model run over more positions than it is fed: ids, mask, segments and positions get virtual tokens in front, and
/// everything behind them sees one longer sequence.
/// </summary>
internal static class VirtualTokenInputs
{
    private const string Ids = "input_ids";

    /// <summary>The sites that look up the tokens.</summary>
    /// <exception cref="ConfigurationException">The model takes no token ids, or looks them up nowhere.</exception>
    public static IReadOnlyList<LinearSite> TokenEmbeddings(LinearSites sites)
    {
        LinearSite[] found = [.. sites.Sites.Where(s => s.Kind == LinearKind.Embedding && ComesFromIds(s.Input))];
        return found.Length > 0 ? found : throw new ConfigurationException(
            $"Prompts stand in front of token embeddings, but the model has no embedding that is looked up by its input '{Ids}'. Use another method.");
    }

    /// <summary>Puts virtual tokens in front of the inputs.</summary>
    /// <exception cref="ConfigurationException">The model's sequence axis has a fixed length.</exception>
    public static void Extend(OnnxModel model, int count, string scope)
    {
        foreach (Value input in model.Graph.RequiredInputs.ToArray())
        {
            if (input.Name is Ids or "token_type_ids")
            {
                Prepend(model, input, count, scope, (b, batch) => Fill(b, batch, input.ElementType, count, 0));
            }
            else if (input.Name == "attention_mask")
            {
                Prepend(model, input, count, scope, (b, batch) => Fill(b, batch, input.ElementType, count, 1));
            }
            else if (input.Name == "position_ids")
            {
                Prepend(
                    model,
                    input,
                    count,
                    scope,
                    (b, batch) => b.Expand(b.Cast(b.Constant(DenseTensor.Of([1, count], Enumerable.Range(0, count).Select(i => (long)i).ToArray())), input.ElementType), b.Concat(0, batch, b.Int64s(count))),
                    (b, given) => b.Add(given, b.Scalar(input.ElementType, count)));
            }
        }
    }

    // Inner values keep the symbol of the model's sequence axis, which now means the longer sequence; the input's own axis gets
    // another one.
    private static void Prepend(
        OnnxModel model, Value input, int count, string scope, Func<GraphBuilder, Value, Value> front, Func<GraphBuilder, Value, Value>? shift = null)
    {
        if (input.Shape is not { Rank: 2 } shape || shape[1].IsKnown)
        {
            throw new ConfigurationException(
                $"The model's input '{input.Name}' has the shape {input.Shape?.ToString() ?? "[...]"}; {count} virtual tokens need a dynamic sequence axis in front of which they can stand. Export the model with one.");
        }

        OnnxType type = input.Type!;
        Dimension[] dims = [.. shape];
        GraphBuilder b = new(model.Graph, model.Opset, model.Graph.First) { Scope = scope };
        Use[] readers = [.. input.Uses];
        input.Type = new OnnxType.Tensor(input.ElementType, new Shape(dims[0], Dimension.Of("given_length")));
        Value given = shift is null ? input : shift(b, input);
        Value extended = b.Concat(1, front(b, b.ShapeOf(input, 0, 1)), given);
        extended.Type = type;
        foreach (Use use in readers)
        {
            use.Node.SetInput(use.Index, extended);
        }
    }

    private static Value Fill(GraphBuilder b, Value batch, DataType type, int count, double value) =>
        b.Expand(b.Scalar(type, value), b.Concat(0, batch, b.Int64s(count)));

    private static bool ComesFromIds(Value value)
    {
        while (value.Producer is { OpType: "Cast" or "Identity" or "Reshape" } node && node.Inputs[0] is Value source)
        {
            value = source;
        }

        return value is { IsGraphInput: true, Name: Ids };
    }
}
