using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.AdaLora;

/// <summary>AdaLoRA on one model: <c>y = base(x) + alpha / init_r * B ((A * E) x)</c>.</summary>
internal sealed class AdaLoraPlan : TargetedPlan
{
    // PEFT adds this to the rank before it divides.
    private const double RankEpsilon = 1e-5;

    private readonly AdaLoraConfig _config;
    private readonly IReadOnlyList<AdaLoraLayer> _layers;
    private readonly double _scaling;
    private AdaLoraAllocator? _allocator;

    public AdaLoraPlan(AdaLoraConfig config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config, sites, modules)
    {
        _config = config;
        _scaling = config.Alpha / (config.InitialRank + RankEpsilon);
        _layers = [.. modules.Select(Layer)];
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [.. _layers.SelectMany(l => l.Tensors)];

    public override IAdapterTrainingHook CreateTrainingHook() => _allocator = new AdaLoraAllocator(_config, [.. _layers.Where(l => l.Rank > 0)]);

    public override void Insert(AdapterInsertionContext context)
    {
        foreach (AdaLoraLayer layer in _layers.Where(l => l.Rank > 0))
        {
            string scope = layer.Module.Path + "/adalora/";
            GraphBuilder start = context.AtStart(scope);
            Value a = start.Mul(context.Input(layer.A), context.Input(layer.E));
            foreach (LinearSite site in layer.Module.Sites)
            {
                GraphBuilder builder = context.Behind(site, scope);
                Value x = context.Dropout(builder, builder.Cast(site.Input, DataType.Float), _config.Dropout, $"{site.ModulePath}/dropout/{site.Node.Name}");
                AdapterInsertionContext.Redirect(site.Product, LowRankBranch.Sum(builder, site, x, a, context.Input(layer.B), _scaling));
            }
        }

        if (_config.OrthogonalityWeight != 0 && _layers.Any(l => l.Rank > 0))
        {
            context.AddPenalty(Orthogonality(context));
        }
    }

    public override void Merge(WeightMerge merge)
    {
        foreach (AdaLoraLayer layer in _layers.Where(l => l.Rank > 0))
        {
            Matrix a = new(layer.Rank, (int)layer.Module.InFeatures, merge.Tensor(layer.A));
            a.ScaleRows(merge.Tensor(layer.E));
            merge.AddLowRank(layer.Module, a.Values, merge.Tensor(layer.B), layer.Rank, _scaling);
        }
    }

    // Pruned triplets leave the file, and rank_pattern says which they were.
    public override AdapterWeights ToFile(AdapterWeights weights)
    {
        if (_allocator?.Kept is not { } kept)
        {
            return weights;
        }

        Dictionary<string, ITensor> tensors = new(weights.Tensors, StringComparer.Ordinal);
        foreach (AdaLoraLayer layer in _layers.Where(l => l.Rank > 0))
        {
            int[] rows = [.. Enumerable.Range(0, layer.Rank).Where(i => kept[layer.PatternKey][i])];
            tensors[layer.A.FileKey] = Rows(Matrix.Of(tensors[layer.A.FileKey]), rows).ToTensor();
            tensors[layer.E.FileKey] = Rows(Matrix.Of(tensors[layer.E.FileKey]), rows).ToTensor();
            tensors[layer.B.FileKey] = Rows(Matrix.Of(tensors[layer.B.FileKey]).Transpose(), rows).Transpose().ToTensor();
        }

        return new AdapterWeights(weights.Method, _config.WithKept(kept), tensors, weights.Source);
    }

    private static Matrix Rows(Matrix matrix, int[] rows)
    {
        Matrix chosen = new(rows.Length, matrix.Columns);
        for (int i = 0; i < rows.Length; i++)
        {
            matrix.Row(rows[i]).CopyTo(chosen.Row(i));
        }

        return chosen;
    }

    private AdaLoraLayer Layer(LinearModule module)
    {
        // Names in the file may have another wrapper's segment in front.
        string key = module.Path + ".lora_E";
        IReadOnlyList<bool>? kept = _config.Kept?.FirstOrDefault(k => k.Key == key || key.EndsWith("." + k.Key, StringComparison.Ordinal) || k.Key.EndsWith("." + key, StringComparison.Ordinal)).Value;
        int rank = kept?.Count(k => k) ?? _config.InitialRank;
        bool isTrained = rank > 0;
        return new AdaLoraLayer(
            module,
            rank,
            Tensor(module, "lora_A", [rank, module.InFeatures], Fill) with { IsTrained = isTrained },
            Tensor(module, "lora_B", [module.OutFeatures, rank], Fill) with { IsTrained = isTrained },
            Tensor(module, "lora_E", [rank, 1], (_, _) => { }) with { IsTrained = isTrained });

        void Fill(FirstValues start, Span<float> values)
        {
            if (rank > Math.Max(module.InFeatures, module.OutFeatures))
            {
                throw new ConfigurationException($"init_r {rank} is above the size of module '{module.Path}' [{module.InFeatures} -> {module.OutFeatures}]. Lower it or exclude the module.");
            }

            start.Random.FillGaussian(values, 0.02);
        }
    }

    // Mean over all A and B of the Frobenius norms |A A^T - I| and |B^T B - I|; pruned layers count in the mean.
    private Value Orthogonality(AdapterInsertionContext context)
    {
        GraphBuilder b = context.AtStart("adalora/orthogonality/");
        List<Value> norms = [];
        foreach (AdaLoraLayer layer in _layers.Where(l => l.Rank > 0))
        {
            Value identity = b.Constant(Matrix.Identity(layer.Rank).ToTensor());
            Value a = context.Input(layer.A);
            Value outer = context.Input(layer.B);
            norms.Add(Norm(b.Sub(b.MatMul(a, b.Transpose(a, 1, 0)), identity)));
            norms.Add(Norm(b.Sub(b.MatMul(b.Transpose(outer, 1, 0), outer), identity)));
        }

        return b.Mul(b.Op("Sum", norms), _config.OrthogonalityWeight / (2 * _layers.Count));

        Value Norm(Value difference) => b.Op("Sqrt", [b.ReduceSum(b.Mul(difference, difference), false, 0, 1)]);
    }
}
