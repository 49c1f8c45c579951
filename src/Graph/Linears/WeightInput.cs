using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>Gives a site another weight.</summary>
/// <remarks>The site's record of node, weight and chain is out of date afterwards: find the sites anew.</remarks>
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
        if (isOutByIn && node.Is("MatMul") && !site.IsWeightLeft && site.Input.Shape is { Rank: > 0 } shape && shape[-1].IsKnown)
        {
            ReplaceProduct(node, weight, shape, site.OutFeatures, opset);
            RemoveUnread(present);
            return;
        }

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

    /// <summary>
    /// Replaces <c>MatMul(x, W)</c> by a Gemm that reads W^T as it lies, over the flattened leading axes of x. A Transpose
    /// would invite ONNX Runtime to move it through DequantizeLinear onto the stored weight and so undo its layout.
    /// </summary>
    private static void ReplaceProduct(Node node, Value weight, Shape shape, long outFeatures, long opset)
    {
        GraphBuilder builder = new(node.Graph!, opset, node) { Scope = node.Name + "/" };
        Value x = node.Inputs[0]!;
        bool isFlat = shape.Rank == 2;
        Value rows = isFlat ? x : builder.Reshape(x, -1, shape[-1].Value!.Value);
        Value product = builder.Op("Gemm", [rows, weight], ("transB", 1));
        Node gemm = product.Producer!;
        foreach ((string key, string value) in node.Metadata)
        {
            gemm.Metadata[key] = value;
        }

        Value result = isFlat
            ? product
            : builder.Reshape(product, builder.Concat(0, LeadingShape(builder, x, shape.Rank - 1), builder.Int64s(outFeatures)));
        Value replaced = node.Outputs[0];
        string name = replaced.Name;
        result.Type = replaced.Type;
        replaced.ReplaceAllUsesWith(result);
        node.Graph!.Remove(node);
        result.Name = name;
        gemm.Name = node.Name;
    }

    // Shape takes a range from opset 15 on.
    private static Value LeadingShape(GraphBuilder builder, Value x, int count) => builder.Opset >= 15
        ? builder.ShapeOf(x, 0, count)
        : builder.Op("Slice", [builder.ShapeOf(x), builder.Int64s(0), builder.Int64s(count)]);

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
