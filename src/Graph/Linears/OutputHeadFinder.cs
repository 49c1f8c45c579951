using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>Finds the linear that makes the model's logits.</summary>
internal static class OutputHeadFinder
{
    // What may stand between the head and the output: changes of layout and type, a pick of positions, soft-capping
    // and scaling by constants, a final activation.
    private static readonly HashSet<string> PassedOver = new(StringComparer.Ordinal)
    {
        "Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "GatherElements", "GatherND", "Transpose", "Split",
        "Add", "Sub", "Mul", "Div", "Neg", "Tanh", "Sigmoid", "Softmax", "LogSoftmax", "Clip", "Max", "Min", "Where", "Expand", "Concat",
        "QuantizeLinear", "DequantizeLinear",
    };

    private static readonly string[] HeadSegments =
        ["lm_head", "score", "classifier", "proj_out", "embed_out", "qa_outputs", "output_projection", "output_layer"];

    /// <summary>Marks the sites that are output heads.</summary>
    /// <param name="graph">The main graph.</param>
    /// <param name="sites">Every site, with its module path.</param>
    public static void Mark(OnnxGraph graph, IReadOnlyList<LinearSite> sites)
    {
        Dictionary<Node, LinearSite> linears = sites.Where(s => s is { Kind: LinearKind.Linear, IsFused: false }).ToDictionary(s => s.Node);
        HashSet<long> vocabularies = [.. sites.Where(s => s.Kind == LinearKind.Embedding).Select(s => s.InFeatures)];
        foreach (Value output in graph.Outputs)
        {
            bool isLogits = output.Name.Contains("logits", StringComparison.OrdinalIgnoreCase);
            foreach (LinearSite site in LastLinears(output, linears))
            {
                site.IsOutputHead |= isLogits || vocabularies.Contains(site.OutFeatures) || site.ModulePath.Split('.').Any(HeadSegments.Contains);
            }
        }
    }

    private static IEnumerable<LinearSite> LastLinears(Value output, Dictionary<Node, LinearSite> linears)
    {
        // A cached key or value is the result of a projection too; the vocabulary and name tests keep it out.
        HashSet<Node> seen = [];
        Queue<Value> pending = new([output]);
        while (pending.TryDequeue(out Value? value))
        {
            if (value.Producer is not { } node || !seen.Add(node))
            {
                continue;
            }

            if (linears.TryGetValue(node, out LinearSite? site))
            {
                yield return site;
            }
            else if (node.OpType == "DequantizeLinear" && node.Inputs[0] is { } rounded)
            {
                pending.Enqueue(rounded);
            }
            else if (PassedOver.Contains(node.OpType) && (node.Domain.Length == 0 || node.OpType == "QuantizeLinear"))
            {
                foreach (Value? input in node.Inputs)
                {
                    if (input is not null && (input.ElementType == DataType.Undefined || input.ElementType.IsFloatingPoint()))
                    {
                        pending.Enqueue(input);
                    }
                }
            }
        }
    }
}
