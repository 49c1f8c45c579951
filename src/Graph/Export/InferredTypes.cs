using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// Fills in types of inner values that the file does not state, so that edits know what they stand between. What the file
/// states stays, and nothing more is written to it.
/// </summary>
internal static class InferredTypes
{
    /// <summary>Infers in a copy; values whose type does not follow from the operators stay without.</summary>
    public static void Fill(OnnxModel model)
    {
        OnnxModel copy = ModelCloner.Clone(model);
        try
        {
            new ShapeInferencePass().Run(copy);
        }
        catch (GraphException)
        {
            // An operator that the runtime knows better than the rules here. Types are a convenience: edits have forms that need none.
            return;
        }

        Fill(model.Graph, copy.Graph);
    }

    private static void Fill(OnnxGraph graph, OnnxGraph inferred)
    {
        foreach (Value value in graph.Values)
        {
            if (value.Type is null && inferred.TryGetValue(value.Name, out Value? known))
            {
                value.Type = known.Type;
            }
        }
    }
}
