using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>
/// An output that has no entry for each token: a classifier's, which reads one position or a mean of them. Where positions are
/// chosen or summed, virtual ones in front of the text are left out.
/// </summary>
internal static class PooledOutput
{
    private const int PositionAxis = 1;

    /// <summary>Leaves out the virtual positions wherever the output's last steps reduce the axis of positions.</summary>
    /// <param name="model">The model, of inferred types; changed in place.</param>
    /// <param name="output">The graph output.</param>
    /// <param name="sequence">The dimension of positions.</param>
    /// <param name="count">Virtual positions in front.</param>
    /// <param name="attentions">The nodes that mix values of all positions: behind them nothing may reach the output uncropped.</param>
    /// <param name="scope">Prefix of names.</param>
    /// <exception cref="ConfigurationException">Some path to the output chooses no position in a way that is known.</exception>
    public static void Crop(OnnxModel model, Value output, Dimension sequence, int count, IReadOnlySet<Node> attentions, string scope)
    {
        List<Node> reductions = [];
        HashSet<Node> seen = [];
        Stack<Value> open = new([output]);
        while (open.TryPop(out Value? value))
        {
            bool isOfPositions = value.Shape is { } known && known.Contains(sequence);
            if ((value.IsGraphInput && isOfPositions) || (value.Producer is { } attention && attentions.Contains(attention)))
            {
                throw new ConfigurationException(
                    $"Prefix tuning needs an output with one entry for each token, or one made of a chosen position, a sum or a mean of positions; output '{output.Name}' has the shape {output.Shape?.ToString() ?? "[...]"}, and how it comes of the positions cannot be told (seen back to '{value.Name}'). Use another method.");
            }

            if (value.Producer is not { } node || !seen.Add(node) || node.Is("Shape"))
            {
                continue;
            }

            bool isReduction = Reduces(node, sequence);
            if (isReduction)
            {
                reductions.Add(node);
            }

            foreach (Value input in node.Inputs.Skip(isReduction ? 1 : 0).Where(i => i is not null && ConstantContent.Of(i) is null)!)
            {
                open.Push(input);
            }
        }

        foreach (Node node in reductions)
        {
            GraphBuilder b = new(node.Graph!, model.Opset, node) { Scope = scope };
            node.SetInput(0, b.Op("Slice", [node.Inputs[0]!, b.Int64s(count), b.Int64s(long.MaxValue), b.Int64s(PositionAxis)]));
        }
    }

    private static bool Reduces(Node node, Dimension sequence)
    {
        if (node.Inputs.Count == 0 || node.Inputs[0]?.Shape is not { Rank: >= 2 } shape || shape[PositionAxis] != sequence)
        {
            return false;
        }

        return node.OpType switch
        {
            "Gather" or "GatherElements" or "ArgMax" or "ArgMin" => Axis(node.GetInt("axis", 0), shape) == PositionAxis,
            "GatherND" => true,
            "Slice" => Axes(node.InputOrNull(3)) is { } axes && axes.Any(a => Axis(a, shape) == PositionAxis),
            "ReduceMean" or "ReduceSum" or "ReduceMax" or "ReduceMin" or "ReduceL2" or "ReduceLogSumExp" =>
                (Axes(node.InputOrNull(1)) ?? node.GetInts("axes")) is { } axes && axes.Any(a => Axis(a, shape) == PositionAxis),
            _ => false,
        };
    }

    private static long Axis(long axis, Shape shape) => axis < 0 ? axis + shape.Rank : axis;

    private static IEnumerable<long>? Axes(Value? value) => value is not null && ConstantContent.Of(value) is { } content ? content.ToInt64s() : null;
}
