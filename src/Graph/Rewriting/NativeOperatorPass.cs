using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Rewriting.Rules;

namespace OrtQLoRA.Graph.Rewriting;

/// <summary>
/// Replaces patterns of standard operators by the native library's. It runs before the gradient is built, which then
/// consists of the native gradient operators (<see cref="Gradients.NativeGradientRules"/>); what fits no pattern stays as it is.
/// </summary>
/// <remarks>One pass object must see every model whose sessions are to share quantized weights.</remarks>
public sealed class NativeOperatorPass : GraphPass
{
    private readonly RewriteRule[][] _stages;

    /// <summary>Creates the pass.</summary>
    /// <param name="compute">How the operators multiply.</param>
    /// <param name="available">Names of the operators that the device has kernels for; null for all.</param>
    public NativeOperatorPass(Int8Compute compute, IReadOnlyCollection<string>? available = null)
    {
        // Later stages look for what earlier ones emit.
        RewriteRule[][] stages =
        [
            [new Int8ProductFusion(compute)],
            [new LoraLinearFusion(), new RmsNormFusion(), new LayerNormFusion(), new SwiGluFusion(), new GeluFusion(), new RotaryFusion()],
        ];
        _stages = [.. stages.Select(rules => rules.Where(r => available is null || r.NativeOperators.All(available.Contains)).ToArray())];
    }

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        bool changed = false;
        foreach (RewriteRule[] rules in _stages)
        {
            changed |= new RewritePass(rules).Run(model);
            new DeadNodeEliminationPass().Run(model);
        }

        if (changed)
        {
            model.OpsetImports[OperatorDomains.OrtQLoRA] = OperatorDomains.OrtQLoRAVersion;
        }

        return changed;
    }
}
