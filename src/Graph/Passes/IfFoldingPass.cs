using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Replaces <c>If</c> nodes whose condition is a constant by the branch taken, whose values keep their names where
/// those are free. An If whose condition is computed stays.
/// </summary>
public sealed class IfFoldingPass : GraphPass
{
    /// <inheritdoc/>
    /// <exception cref="GraphException">An If lacks the branch that it takes.</exception>
    public override bool Run(OnnxModel model) => Fold(model.Graph);

    private static bool Fold(OnnxGraph graph)
    {
        bool changed = false;
        for (Node? node = graph.First; node is not null;)
        {
            Node? previous = node.Previous;
            if (BranchTaken(node) is OnnxGraph branch)
            {
                // Go on with the first node of the branch, which may be an If too.
                Inline(node, branch);
                node = previous is null ? graph.First : previous.Next;
                changed = true;
                continue;
            }

            foreach (OnnxGraph subgraph in node.Subgraphs)
            {
                changed |= Fold(subgraph);
            }

            node = node.Next;
        }

        return changed;
    }

    private static OnnxGraph? BranchTaken(Node node)
    {
        if (!node.Is("If") || node.InputOrNull(0) is not { IsConstant: true, Initializer: { ElementType: DataType.Bool } condition } || condition.ElementCount() != 1)
        {
            return null;
        }

        string taken = condition.ToInt64s()[0] != 0 ? "then_branch" : "else_branch";
        return node.Attributes.TryGetValue(taken, out NodeAttribute? attribute) && attribute.AsGraph() is { } branch && branch.Outputs.Count == node.Outputs.Count
            ? branch
            : throw new GraphException($"{node.Describe()} lacks attribute '{taken}', a graph with {node.Outputs.Count} outputs.");
    }

    private static void Inline(Node node, OnnxGraph branch)
    {
        NameAuthority names = node.OwningGraph.Names;
        BodyCopier copier = new("");
        IReadOnlyList<Node> copies = copier.Copy(branch, node.OwningGraph, node);
        (Value Copy, string Name)[] copied = [.. copier.Copies];
        HashSet<Value> outputs = NodeReplacement.ReplaceByCopies(node, copies, [.. branch.Outputs.Select((o, i) => node.Outputs[i].IsUsed ? copier.Map(o) : null)]);
        foreach ((Value copy, string name) in copied.Where(c => !outputs.Contains(c.Copy) && !names.IsTaken(c.Name)))
        {
            copy.Name = name;
        }
    }
}
