using System.Numerics.Tensors;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.LoHa;

/// <summary>LoHa on one model: <c>W + alpha/r (w1_a w1_b) o (w2_a w2_b)</c>.</summary>
internal sealed class LoHaPlan : TargetedPlan
{
    private readonly IReadOnlyList<LoHaLayer> _layers;

    public LoHaPlan(LoHaConfig config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config, sites, modules)
    {
        ModulePatternTable<double> ranks = new("rank_pattern", config.RankPattern);
        ModulePatternTable<double> alphas = new("alpha_pattern", config.AlphaPattern);
        _layers = [.. modules.Select(m => Layer(m, (int)ranks.ValueFor(m.Path, config.Rank), alphas.ValueFor(m.Path, config.Alpha), config.StartsAtZero))];
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [.. _layers.SelectMany(l => l.Factors)];

    public override void Insert(AdapterInsertionContext context)
    {
        foreach (LoHaLayer layer in _layers)
        {
            string scope = layer.Module.Path + "/loha/";
            GraphBuilder start = context.AtStart(scope);
            Value[] factors = [.. layer.Factors.Select(context.Input)];
            Value change = start.Mul(start.MatMul(factors[0], factors[1]), start.MatMul(factors[2], factors[3]));
            Value transposed = start.Transpose(start.Mul(change, layer.Scaling), 1, 0);
            foreach (LinearSite site in layer.Module.Sites)
            {
                SiteBranch branch = new(context, site, scope);
                branch.AddToProduct(branch.Behind.MatMul(branch.Input(branch.Behind), transposed));
            }
        }
    }

    public override void Merge(WeightMerge merge)
    {
        foreach (LoHaLayer layer in _layers)
        {
            Matrix[] factors = [.. layer.Factors.Select(f => new Matrix((int)f.Dims[0], (int)f.Dims[1], merge.Tensor(f)))];
            merge.AddMatrix(
                layer.Module,
                () =>
                {
                    Matrix change = factors[0].Multiply(factors[1]);
                    TensorPrimitives.Multiply(change.Values, factors[2].Multiply(factors[3]).Values, change.Values);
                    return change;
                },
                layer.Scaling);
        }
    }

    // As PEFT: deviation 0.1 on the tall factors, 1 on the wide ones; w2_b zero where the change starts at zero.
    private static LoHaLayer Layer(LinearModule module, int rank, double alpha, bool startsAtZero)
    {
        long[] tall = [module.OutFeatures, rank];
        long[] wide = [rank, module.InFeatures];
        return new LoHaLayer(
            module,
            alpha / rank,
            [
                Tensor(module, "hada_w1_a", tall, (start, values) => start.Random.FillGaussian(values, 0.1)),
                Tensor(module, "hada_w1_b", wide, (start, values) => start.Random.FillGaussian(values, 1)),
                Tensor(module, "hada_w2_a", tall, (start, values) => start.Random.FillGaussian(values, 0.1)),
                Tensor(module, "hada_w2_b", wide, (start, values) =>
                {
                    if (!startsAtZero)
                    {
                        start.Random.FillGaussian(values, 1);
                    }
                }),
            ]);
    }

    private sealed record LoHaLayer(LinearModule Module, double Scaling, IReadOnlyList<AdapterTensor> Factors);
}
