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
    private readonly HashSet<string> _parameters;
    private readonly RewriteRule[][] _stages;

    /// <summary>Creates the pass.</summary>
    /// <param name="compute">How the operators multiply.</param>
    /// <param name="parameters">Names of the values that are trained.</param>
    /// <param name="available">Names of the operators that the device has kernels for; null for all.</param>
    /// <param name="packer">How int8 weights are laid out; null for <c>[K, N]</c>.</param>
    public NativeOperatorPass(
        Int8Compute compute, IEnumerable<string> parameters, IReadOnlyCollection<string>? available = null, Int8WeightPacker? packer = null)
    {
        _parameters = [.. parameters];
        string name = compute.ToString().ToLowerInvariant();

        // Later stages look for what earlier ones emit; layer normalization is RMS normalization of centred rows, hence first.
        RewriteRule[][] stages =
        [
            [new Int8ProductFusion(compute, packer)],
            [new LoraLinearFusion(), new LayerNormFusion(), new RmsNormFusion(), new SwiGluFusion(), new GeluFusion(), new RotaryFusion(IsTrained)],
            [new LeadingAxesFusion()],
            [new ProductBiasFusion()],
            [new AttentionFusion(name, IsTrained), new CrossEntropyFusion(name)],
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

    /// <summary>Whether a value depends on a parameter.</summary>
    private bool IsTrained(Value value)
    {
        HashSet<Value> seen = [];
        Stack<Value> open = new([value]);
        while (open.TryPop(out Value? next))
        {
            if (!seen.Add(next))
            {
                continue;
            }

            if (_parameters.Contains(next.Name))
            {
                return true;
            }

            foreach (Value input in next.Producer?.Inputs.OfType<Value>() ?? [])
            {
                open.Push(input);
            }
        }

        return false;
    }
}
