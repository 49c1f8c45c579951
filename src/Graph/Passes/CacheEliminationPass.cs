using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Takes the key/value cache out of a decoder, as training starts every sequence anew:
/// 1. inputs named <c>past*</c> become empty: fused attention loses them, a Concat leaves them out, other readers get an
///    empty tensor computed from the batch; then they are no inputs any more;
/// 2. <c>use_cache_branch</c> becomes false, so that a merged decoder takes its branch without cache; <c>cache_position</c>
///    counts from 0; other integers of the cache (<c>past_sequence_length</c>) become 0;
/// 3. masks over past and present tokens are as long as the present ones;
/// 4. outputs named <c>present*</c> go.
/// </summary>
/// <remarks>
/// Which axis of a cache counts tokens is told by its symbol (<c>past_sequence_length</c>), else by its rank. The inputs' types
/// must be known. Ensures: names of all other inputs and outputs stay.
/// </remarks>
public sealed class CacheEliminationPass : GraphPass
{
    private const string Microsoft = OperatorDomains.Microsoft;

    /// <summary>Positions of optional inputs that hold a past, by operator.</summary>
    private static readonly Dictionary<(string Domain, string OpType), int[]> OptionalPasts = new()
    {
        [("", "Attention")] = [4, 5],
        [(Microsoft, "Attention")] = [4],
        [(Microsoft, "MultiHeadAttention")] = [6, 7],
        [(Microsoft, "GroupQueryAttention")] = [3, 4],
    };

    /// <summary>Whether a graph input belongs to a cache, by its name.</summary>
    public static bool IsCacheInput(string name) =>
        IsPast(name) || name is "use_cache_branch" or "cache_position";

    /// <summary>Whether a graph output belongs to a cache, by its name.</summary>
    public static bool IsCacheOutput(string name) => name.StartsWith("present", StringComparison.Ordinal);

    /// <inheritdoc/>
    /// <exception cref="UnsupportedOpException">The decoder takes the encoder's keys and values from its cache, so that they cannot be left out.</exception>
    public override bool Run(OnnxModel model)
    {
        OnnxGraph graph = model.Graph;
        Value[] inputs = [.. graph.RequiredInputs.Where(i => IsCacheInput(i.Name))];
        Value[] outputs = [.. graph.Outputs.Where(o => IsCacheOutput(o.Name))];
        if (outputs.Length < graph.Outputs.Count)
        {
            Array.ForEach(outputs, graph.RemoveOutput);
        }

        Value[] others = [.. graph.RequiredInputs.Except(inputs)];
        foreach (Value input in inputs)
        {
            TakeOut(model, input, others);
        }

        if (Array.Exists(inputs, i => i.ElementType.IsFloatingPoint()))
        {
            AlignMasks(others);
        }

        return inputs.Length > 0 || outputs.Length > 0;
    }

    private static bool IsPast(string name) => name.StartsWith("past", StringComparison.Ordinal);

    private static void TakeOut(OnnxModel model, Value input, IReadOnlyList<Value> others)
    {
        OnnxGraph graph = model.Graph;
        if (input.Name.Contains("encoder", StringComparison.Ordinal) && input.Uses.Any(u => u.Node.Graph == graph))
        {
            throw new UnsupportedOpException(
                $"Input '{input.Name}' holds keys or values of the encoder's states, which this decoder does not compute itself: it is the half of an export that only continues a text. Train the half without cache (decoder_model.onnx) or the merged decoder (decoder_model_merged.onnx).");
        }

        GraphBuilder builder = new(graph, model.Opset, graph.First) { Scope = "no_cache/" };
        if (input.ElementType.IsFloatingPoint() && input.Shape is { } shape && LengthAxis(shape) is int axis)
        {
            DropOptional(input);
            DropFromConcats(input, axis, model.Opset);
            Replace(graph, input, () => Empty(builder, input, shape, axis, others));
        }
        else if (input.Name == "cache_position" && others.FirstOrDefault(o => o.Shape is { Rank: 2 } && !o.ElementType.IsFloatingPoint()) is { } tokens)
        {
            Replace(graph, input, () => builder.Op("Range", [builder.Scalar(0L), Dimension(builder, tokens, 1), builder.Scalar(1L)]));
        }
        else if (!input.ElementType.IsFloatingPoint() && input.ElementType != DataType.Undefined && input.Shape is { } small && small.All(d => d.Value is null or 1))
        {
            Replace(graph, input, () => builder.Constant(Zero(input.ElementType, [.. small.Select(_ => 1L)])));
        }
    }

    // Without a past, what counts all tokens counts the present ones: one symbol lets later passes know.
    private static void AlignMasks(IReadOnlyList<Value> inputs)
    {
        if (inputs.FirstOrDefault(i => i.Name == "input_ids" && i.Shape is { Rank: 2 }) is not { } tokens)
        {
            return;
        }

        foreach (Value mask in inputs.Where(i => i != tokens && i.Shape is { Rank: 2 } && i.Shape[1].Symbol is { } symbol
            && (symbol.Contains("past", StringComparison.Ordinal) || symbol.Contains("total", StringComparison.Ordinal))))
        {
            mask.Type = new OnnxType.Tensor(mask.ElementType, tokens.Shape);
        }
    }

    /// <summary>The axis that counts past tokens; null if it cannot be told.</summary>
    private static int? LengthAxis(Shape shape)
    {
        int[] symbolic = [.. Enumerable.Range(0, shape.Rank).Where(i => !shape[i].IsKnown)];
        int[] named = [.. symbolic.Where(i => shape[i].Symbol is { } s && (s.Contains("past", StringComparison.OrdinalIgnoreCase) || s.Contains("encoder_sequence", StringComparison.OrdinalIgnoreCase)))];
        return named.Length == 1 ? named[0]
            : shape.Rank == 4 ? 2
            : shape.Rank == 5 ? 3
            : symbolic.Length == 2 && symbolic[0] == 0 ? symbolic[1]
            : null;
    }

    private static void DropOptional(Value input)
    {
        foreach (Use use in input.Uses.ToArray())
        {
            if (OptionalPasts.TryGetValue((use.Node.Domain, use.Node.OpType), out int[]? positions) && positions.Contains(use.Index))
            {
                use.Node.SetInput(use.Index, null);
            }
        }
    }

    private static void DropFromConcats(Value input, int axis, long opset)
    {
        foreach (Use use in input.Uses.Where(u => u.Node.Is("Concat")).ToArray())
        {
            Node concat = use.Node;
            long along = concat.GetInt("axis", 0);
            if ((along < 0 ? along + input.Shape!.Rank : along) != axis || concat.Inputs.Count < 2)
            {
                continue;
            }

            Value?[] kept = [.. concat.Inputs.Where(i => i != input)];
            if (kept is [{ } only])
            {
                Value identity = new GraphBuilder(concat.OwningGraph, opset, concat).Op("Identity", [only]);
                if (concat.OwningGraph.Parent is null && concat.Outputs[0].IsGraphOutput)
                {
                    NodeReplacement.Replace(concat, identity);
                }
                else
                {
                    // A subgraph's outputs go by their order; a name may stand in the graph around it as well.
                    concat.Outputs[0].ReplaceAllUsesWith(identity);
                    concat.OwningGraph.Remove(concat);
                }
            }
            else if (kept.Length > 1)
            {
                concat.TruncateInputs(0);
                Array.ForEach(kept, concat.AddInput);
            }
        }
    }

    private static void Replace(OnnxGraph graph, Value input, Func<Value> replacement)
    {
        if (input.IsUsed)
        {
            input.ReplaceAllUsesWith(replacement());
        }

        graph.RemoveInput(input);
    }

    // Of the input's shape with no tokens; what other symbolic axes count stands in the first other input, batch first.
    private static Value Empty(GraphBuilder builder, Value input, Shape shape, int axis, IReadOnlyList<Value> others)
    {
        Value[] dims = [.. shape.Select((d, i) => i == axis ? builder.Int64s(0) : d.Value is { } size ? builder.Int64s(size) : Size(builder, d, others))];
        Value zeros = builder.Op("ConstantOfShape", [builder.Concat(0, dims)], ("value", Zero(input.ElementType, [1])));
        zeros.Type = new OnnxType.Tensor(input.ElementType, new Shape(shape.Select((d, i) => i == axis ? 0 : d)));
        return zeros;
    }

    private static Value Size(GraphBuilder builder, Dimension dimension, IReadOnlyList<Value> others)
    {
        foreach (Value other in others)
        {
            for (int i = 0; i < (other.Shape?.Rank ?? 0); i++)
            {
                if (other.Shape![i].IsSameAs(dimension))
                {
                    return builder.ShapeOf(other, i, i + 1);
                }
            }
        }

        return others.FirstOrDefault(o => o.Shape is { Rank: > 0 }) is { } first ? builder.ShapeOf(first, 0, 1) : builder.Int64s(1);
    }

    private static Value Dimension(GraphBuilder builder, Value value, long axis) => builder.Op("Squeeze", [builder.ShapeOf(value, axis, axis + 1)]);

    private static DenseTensor Zero(DataType type, long[] dims) => new(type, dims, new byte[type.ByteLength(dims.Aggregate(1L, (n, d) => n * d))]);
}
