using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Gives every module that owns a part of an initializer (queries, keys and values of a fused attention) an initializer of its
/// own, named as PyTorch names the parameter, so that it can be quantized, adapted and trained like any other. The content is
/// read from the shared initializer.
/// </summary>
/// <remarks>Requires: <see cref="DecompositionPass"/>. On the way back <see cref="LinearSite.Slice"/> of the original model tells where the part belongs.</remarks>
public sealed class SlicedWeightPass : GraphPass
{
    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        bool changed = false;
        Dictionary<(Value, WeightSlice), (Value Part, string Name)> own = [];
        foreach (ModelParameter parameter in LinearFinder.Find(model).Parameters.Where(p => p.Slice is not null).ToArray())
        {
            own[(parameter.Value, parameter.Slice!.Value)] = (model.Graph.AddInitializer(model.Graph.Names.Reserve(parameter.Name), parameter.Content), parameter.Name);
        }

        foreach (((Value whole, WeightSlice slice), (Value part, _)) in own)
        {
            foreach (Node cut in whole.Uses.Select(u => u.Node).Where(n => n.Is("Slice")).Distinct().ToArray())
            {
                if (WeightTrace.Of(cut.Outputs[0]) is { } trace && trace.Slice == slice)
                {
                    cut.Outputs[0].ReplaceAllUsesWith(part);
                    cut.OwningGraph.Remove(cut);
                    changed = true;
                }
            }

            if (!whole.IsUsed && whole.IsConstant)
            {
                whole.Graph.RemoveInitializer(whole);
            }
        }

        // One part may have the name of the whole (a cross-attention's in_proj_weight), which is free now.
        foreach ((Value part, string name) in own.Values.Where(o => o.Part.Name != o.Name && !model.Graph.TryGetValue(o.Name, out _)))
        {
            part.Name = model.Graph.Names.Reserve(name);
        }

        return changed;
    }
}
