using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Ia3;

/// <summary>(IA)3 on one model: <c>y = l * base(x)</c>, on feed-forward layers <c>y = base(l * x)</c>.</summary>
internal sealed class Ia3Plan : TargetedPlan
{
    private readonly IReadOnlyList<Ia3Layer> _layers;

    public Ia3Plan(Ia3Config config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config, sites, modules)
    {
        _layers = [.. modules.Select(m => Layer(m, IsFeedforward(config.FeedforwardModules!, m.Path), config))];
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [.. _layers.Select(l => l.Vector)];

    public override void Insert(AdapterInsertionContext context)
    {
        foreach (Ia3Layer layer in _layers)
        {
            string scope = layer.Module.Path + "/ia3/";
            Value vector = context.AtStart(scope).Reshape(context.Input(layer.Vector), -1);
            foreach (LinearSite site in layer.Module.Sites)
            {
                SiteBranch branch = new(context, site, scope);
                if (layer.IsFeedforward)
                {
                    branch.ReplaceInput(branch.Before.Mul(branch.Input(branch.Before), vector));
                }
                else
                {
                    branch.ScaleOutput(context, vector, scope);
                }
            }
        }
    }

    public override void Merge(WeightMerge merge)
    {
        foreach (Ia3Layer layer in _layers)
        {
            float[] vector = merge.Tensor(layer.Vector);
            if (layer.IsFeedforward)
            {
                merge.ScaleInputs(layer.Module, vector);
            }
            else
            {
                merge.ScaleOutputs(layer.Module, vector);
                merge.ScaleBias(layer.Module, vector);
            }
        }
    }

    private static Ia3Layer Layer(LinearModule module, bool isFeedforward, Ia3Config config)
    {
        long[] dims = isFeedforward ? [1, module.InFeatures] : [module.OutFeatures, 1];
        AdapterTensor vector = Tensor(module, "ia3_l", dims, (start, values) =>
        {
            if (config.InitializesToOne)
            {
                values.Fill(1);
            }
            else
            {
                start.Random.FillGaussian(values, 1);
            }
        });
        return new Ia3Layer(module, isFeedforward, vector);
    }

    private static bool IsFeedforward(ModuleSelector selector, string path) => selector.Names is { } names
        ? names.Any(n => path.EndsWith(n, StringComparison.Ordinal))
        : selector.Regex is { } regex && PythonRegex.FullMatch("feedforward_modules", regex).IsMatch(path);

    private sealed record Ia3Layer(LinearModule Module, bool IsFeedforward, AdapterTensor Vector);
}
