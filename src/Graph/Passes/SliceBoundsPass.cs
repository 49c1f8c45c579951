using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Makes constants of the bounds at which weights are cut, where the exporter computes them from shapes
/// (torch.nn.MultiheadAttention with other keys than queries): which part a module owns can then be told. Nothing else changes.
/// </summary>
public sealed class SliceBoundsPass : GraphPass
{
    /// <summary>Whether a model cuts weights at bounds that are computed.</summary>
    public static bool IsNeeded(OnnxModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return Cuts(model).Any();
    }

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        Node[] cuts = [.. Cuts(model)];
        if (cuts.Length == 0)
        {
            return false;
        }

        OnnxModel folded = ModelCloner.Clone(model);
        new PassPipeline(
            new ConstantToInitializerPass(),
            new ShapeInferencePass(),
            new ConstantFoldingPass(v => v.Initializer is { } content && content.ElementType.IsFloatingPoint() && content.ElementCount() > 1)).Run(folded);
        bool changed = false;
        foreach (Node cut in cuts)
        {
            for (int i = 1; i < cut.Inputs.Count; i++)
            {
                if (cut.Inputs[i] is { } bound
                    && ConstantContent.DefaultOf(bound) is null
                    && folded.Graph.TryGetValue(bound.Name, out Value? known)
                    && ConstantContent.Of(known) is { } content)
                {
                    cut.SetInput(i, model.Graph.AddInitializer(model.Graph.Names.Reserve(bound.Name + "_folded"), content));
                    changed = true;
                }
            }
        }

        return changed;
    }

    private static IEnumerable<Node> Cuts(OnnxModel model) => model.Graph.Nodes.Where(
        n => n.Is("Slice")
            && ConstantContent.DefaultOf(n.InputOrNull(0)) is { } content && content.ElementType.IsFloatingPoint() && content.ElementCount() > 1
            && n.Inputs.Skip(1).Any(i => i is not null && ConstantContent.DefaultOf(i) is null));
}
