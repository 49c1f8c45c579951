using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>Gives a site another weight.</summary>
internal static class WeightInput
{
    /// <summary>
    /// Makes the site's node read a weight of the given orientation instead of its present one, and removes the chain
    /// and the initializer that nothing reads any more.
    /// </summary>
    /// <param name="site">The site; afterwards its record of weight and chain is out of date.</param>
    /// <param name="weight">The weight to read, of the element type that the node reads now.</param>
    /// <param name="isOutByIn">
    /// Orientation of <paramref name="weight"/>: [out, in], or for an embedding [dim, vocabulary], rather than the reverse.
    /// </param>
    /// <param name="opset">Opset of the model.</param>
    public static void Replace(LinearSite site, Value weight, bool isOutByIn, long opset)
    {
        Node node = site.Node;
        Value present = node.Inputs[site.WeightIndex]!;
        if (site.Kind == LinearKind.Linear && node.Is("Gemm"))
        {
            node.SetAttribute(site.IsWeightLeft ? "transA" : "transB", isOutByIn ^ site.IsWeightLeft ? 1 : 0);
        }
        else if (site.Kind != LinearKind.Convolution && isOutByIn ^ site.IsWeightLeft)
        {
            weight = new GraphBuilder(node.Graph!, opset, node).Transpose(weight, 1, 0);
        }

        node.SetInput(site.WeightIndex, weight);
        RemoveUnread(present);
    }

    /// <summary>Removes a value that nothing reads, and what only it read.</summary>
    public static void RemoveUnread(Value value)
    {
        while (!value.IsUsed)
        {
            if (value.Producer is { Graph: { } graph } producer)
            {
                if (producer.Outputs.Any(o => o.IsUsed))
                {
                    return;
                }

                Value?[] inputs = [.. producer.Inputs];
                graph.Remove(producer);
                foreach (Value side in inputs.Skip(1).OfType<Value>().Where(v => v.Initializer is not null))
                {
                    RemoveUnread(side);
                }

                if (inputs is not [{ } next, ..])
                {
                    return;
                }

                value = next;
            }
            else
            {
                if (value.Initializer is not null)
                {
                    value.Graph.RemoveInitializer(value);
                    if (value.IsGraphInput)
                    {
                        // Listed as an input by an old exporter; without its default the caller would have to feed it.
                        value.Graph.RemoveInput(value);
                    }
                }

                return;
            }
        }
    }
}
