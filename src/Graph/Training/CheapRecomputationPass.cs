using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training;

/// <summary>
/// Lets the backward pass compute normalizations and activations again from their operands instead of keeping their results: each
/// is one pass over memory, where the products around it are many, and the operands are kept anyway, for the gradients of these
/// very operators.
/// </summary>
/// <remarks>
/// Of a Llama layer with SwiGLU that is a third of all that is kept. No runtime may merge equal nodes afterwards. A copy is put
/// before its first reader, so a runtime must not run nodes earlier than they stand.
/// </remarks>
internal static class CheapRecomputationPass
{
    private static readonly HashSet<string> Cheap = new(StringComparer.Ordinal) { "RmsNorm", "LayerNorm", "SwiGlu", "Gelu" };

    /// <summary>Makes the copies.</summary>
    /// <param name="model">The training model, its backward pass appended.</param>
    /// <param name="forward">The nodes that were there before the backward pass.</param>
    /// <returns>How many values are computed again.</returns>
    internal static int Run(OnnxModel model, IReadOnlyCollection<Node> forward)
    {
        HashSet<Node> before = [.. forward];
        Dictionary<Node, int> position = model.Graph.Nodes.Index().ToDictionary(n => n.Item, n => n.Index);
        int count = 0;
        foreach (Node node in forward.Where(n => n.Domain == OperatorDomains.OrtQLoRA && Cheap.Contains(n.OpType)))
        {
            Value result = node.Outputs[0];
            Use[] readers = [.. result.Uses.Where(u => u.Node.Graph == model.Graph && !before.Contains(u.Node))];
            if (readers.Length == 0 || result.IsGraphOutput || !node.Inputs.OfType<Value>().All(i => IsKept(i, before)))
            {
                continue;
            }

            Node first = readers.MinBy(u => position[u.Node])!.Node;
            GraphBuilder builder = new(model.Graph, model.Opset, first) { Scope = "again/" };
            Node copy = builder.Emit(
                node.OpType, node.Domain, node.Inputs, node.Outputs.Count, [.. node.Attributes.Select(a => (a.Key, a.Value))]);
            foreach ((Value original, Value output) in node.Outputs.Zip(copy.Outputs))
            {
                output.Type = original.Type;
            }

            foreach (Use reader in readers)
            {
                reader.Node.SetInput(reader.Index, copy.Outputs[0]);
            }

            count++;
        }

        return count;
    }

    /// <summary>Whether a value lives until the backward pass without the copy.</summary>
    private static bool IsKept(Value value, HashSet<Node> forward) =>
        value.IsConstant || value.IsGraphInput || value.Uses.Any(u => !forward.Contains(u.Node));
}
