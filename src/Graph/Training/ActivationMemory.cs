using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Training;

/// <summary>
/// Memory that a training graph's values take while it runs on a batch of given shapes: nodes in graph order, each output
/// there from its node to its last reader. Runtimes reuse memory in much the same way; what they add (buffers inside
/// operators, fragmentation) and save (writing in place) is not in it.
/// </summary>
public static class ActivationMemory
{
    /// <summary>Computes the largest number of bytes there at once.</summary>
    /// <param name="model">The training model; not changed.</param>
    /// <param name="inputs">Shape of each input that the batch fills.</param>
    /// <returns>The bytes, and how many values could not be counted because their shapes are not known.</returns>
    public static (long Bytes, int Unknown) Peak(OnnxModel model, IReadOnlyDictionary<string, Shape> inputs)
    {
        ArgumentNullException.ThrowIfNull(model);
        using OnnxModel work = ModelCloner.Clone(model);
        foreach (Value input in work.Graph.Inputs)
        {
            if (inputs.TryGetValue(input.Name, out Shape? shape))
            {
                input.Type = new OnnxType.Tensor(input.ElementType, shape);
            }
        }

        new ShapeInferencePass().Run(work);
        return Peak(work.Graph);
    }

    private static (long Bytes, int Unknown) Peak(OnnxGraph graph)
    {
        Node[] nodes = [.. graph.Nodes];
        Dictionary<Node, int> position = nodes.Index().ToDictionary(n => n.Item, n => n.Index);
        List<long>[] freed = [.. nodes.Select(_ => new List<long>())];
        long present = 0;
        long peak = 0;
        int unknown = 0;
        for (int i = 0; i < nodes.Length; i++)
        {
            foreach (Value output in nodes[i].Outputs.Where(o => o.IsUsed && !IsAccumulated(o)))
            {
                if (SizeOf(output) is not long size)
                {
                    unknown++;
                    continue;
                }

                present += size;

                // A reader inside a subgraph counts as the node that holds the subgraph, which cannot end before it.
                int last = output.Uses.Select(u => position.GetValueOrDefault(u.Node, nodes.Length - 1)).DefaultIfEmpty(i).Max();
                freed[Math.Max(last, i)].Add(size);
            }

            peak = Math.Max(peak, present);
            present -= freed[i].Sum();
        }

        return (peak, unknown);
    }

    /// <summary>Gradients are added in place, in memory that is there all the time.</summary>
    private static bool IsAccumulated(Value value) => value.IsGraphOutput;

    private static long? SizeOf(Value value) =>
        value.Shape is { } shape && shape.All(d => d.Value is not null) && value.ElementType != DataType.Undefined && value.ElementType != DataType.String
            ? value.ElementType.ByteLength(shape.Aggregate(1L, (n, d) => n * d.Value!.Value))
            : null;
}
