using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Losses;

/// <summary>Makes room for the names that a loss head gives to its input and its loss.</summary>
internal static class LossNames
{
    /// <summary>Renames an inner value that has the name; inputs, outputs and initializers keep theirs.</summary>
    /// <exception cref="GraphException">An input, output or initializer has the name.</exception>
    public static void Free(OnnxGraph graph, string name, string loss)
    {
        if (!graph.Names.IsTaken(name))
        {
            return;
        }

        if (!graph.TryGetValue(name, out Value? value) || value.IsGraphInput || value.IsGraphOutput || value.Initializer is not null)
        {
            throw new GraphException(
                $"The loss '{loss}' adds a value named '{name}', but the model has an input, output, initializer or subgraph value of that name. Rename it in the model, or export the model without its own loss.");
        }

        value.Name = graph.Names.Reserve(name);
    }
}
