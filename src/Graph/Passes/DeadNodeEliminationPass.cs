using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Removes what no output depends on, in the main graph, in subgraphs and in function bodies:
/// 1. nodes none of whose outputs is read by a node (of the graph or of a subgraph below it) or by the caller;
/// 2. initializers that nobody reads. Graph inputs stay, with their defaults: they are the model's interface.
/// </summary>
public sealed class DeadNodeEliminationPass : GraphPass
{
    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        bool changed = Clean(model.Graph);
        foreach (OnnxFunction function in model.Functions)
        {
            changed |= Clean(function.Body);
        }

        return changed;
    }

    // Readers come before what they read, so one walk suffices: a subgraph is cleaned before the outer nodes that
    // it captured values from are looked at.
    private static bool Clean(OnnxGraph graph)
    {
        bool changed = false;
        for (Node? node = graph.Last; node is not null;)
        {
            Node? previous = node.Previous;
            if (node.Outputs.Any(o => o.IsUsed))
            {
                foreach (OnnxGraph subgraph in node.Subgraphs)
                {
                    changed |= Clean(subgraph);
                }
            }
            else
            {
                graph.Remove(node);
                changed = true;
            }

            node = previous;
        }

        foreach (Value initializer in graph.Initializers.Where(i => !i.IsUsed && !i.IsGraphInput).ToArray())
        {
            graph.RemoveInitializer(initializer);
            changed = true;
        }

        return changed;
    }
}
