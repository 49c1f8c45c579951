using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Vera;

/// <summary>VeRA on one model: <c>y = base(x) + lambda_b * (B[:out] (lambda_d * (A[:, :in] x)))</c>.</summary>
internal sealed class VeraPlan : TargetedPlan
{
    private const string PrefixOfShared = "base_model.";

    private readonly VeraConfig _config;
    private readonly IReadOnlyList<VeraLayer> _layers;
    private readonly AdapterTensor _a;
    private readonly AdapterTensor _b;

    public VeraPlan(VeraConfig config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config, sites, modules)
    {
        _config = config;
        long widestIn = modules.Max(m => m.InFeatures);
        long widestOut = modules.Max(m => m.OutFeatures);
        _a = Shared("vera_A", config.Rank, widestIn, FillA);
        _b = Shared("vera_B", widestOut, config.Rank, FillB);
        _layers = [.. modules.Select(Layer)];
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [_a, _b, .. _layers.SelectMany(l => (AdapterTensor[])[l.LambdaB, l.LambdaD])];

    public override void Insert(AdapterInsertionContext context)
    {
        // A layer reads a slice of the shared matrices; layers of one size share the slice.
        GraphBuilder shared = context.AtStart("vera/");
        Dictionary<long, Value> a = [];
        Dictionary<long, Value> b = [];
        foreach (VeraLayer layer in _layers)
        {
            string scope = layer.Module.Path + "/vera/";
            if (!a.TryGetValue(layer.Module.InFeatures, out Value? inner))
            {
                Value slice = shared.Op("Slice", [context.Input(_a), shared.Int64s(0), shared.Int64s(layer.Module.InFeatures), shared.Int64s(1)]);
                a[layer.Module.InFeatures] = inner = shared.Transpose(slice, 1, 0);
            }

            if (!b.TryGetValue(layer.Module.OutFeatures, out Value? outer))
            {
                Value slice = shared.Op("Slice", [context.Input(_b), shared.Int64s(0), shared.Int64s(layer.Module.OutFeatures), shared.Int64s(0)]);
                b[layer.Module.OutFeatures] = outer = shared.Transpose(slice, 1, 0);
            }

            foreach (LinearSite site in layer.Module.Sites)
            {
                SiteBranch branch = new(context, site, scope);
                GraphBuilder builder = branch.Behind;
                Value x = context.Dropout(builder, branch.Input(builder), _config.Dropout, $"{site.ModulePath}/dropout/{site.Node.Name}");
                Value hidden = builder.Mul(builder.MatMul(x, inner), context.Input(layer.LambdaD));
                branch.AddToProduct(builder.Mul(builder.MatMul(hidden, outer), context.Input(layer.LambdaB)));
            }
        }
    }

    public override void Merge(WeightMerge merge)
    {
        Matrix a = new((int)_a.Dims[0], (int)_a.Dims[1], merge.Tensor(_a));
        Matrix b = new((int)_b.Dims[0], (int)_b.Dims[1], merge.Tensor(_b));
        foreach (VeraLayer layer in _layers)
        {
            Matrix inner = a.FirstColumns((int)layer.Module.InFeatures);
            inner.ScaleRows(merge.Tensor(layer.LambdaD));
            Matrix outer = b.FirstRows((int)layer.Module.OutFeatures);
            outer.ScaleRows(merge.Tensor(layer.LambdaB));
            merge.AddLowRank(layer.Module, inner.Values, outer.Values, _config.Rank, 1);
        }
    }

    private VeraLayer Layer(LinearModule module) => new(
        module,
        Tensor(module, "vera_lambda_b", [module.OutFeatures], (start, values) =>
        {
            if (!_config.StartsAtZero)
            {
                start.Random.FillGaussian(values, 1);
            }
        }),
        Tensor(module, "vera_lambda_d", [_config.Rank], (_, values) => values.Fill((float)_config.InitialD)));

    private AdapterTensor Shared(string name, long rows, long columns, Action<Span<float>> fill) => new(name, PrefixOfShared + name, [rows, columns], (_, values) => fill(values))
    {
        IsTrained = false,
        IsWritten = _config.SavesProjection,
    };

    // One sequence of numbers for both, A's first.
    private void FillA(Span<float> values) => Fill(new MersenneTwister((ulong)_config.ProjectionKey), values, _a.Dims[1]);

    private void FillB(Span<float> values)
    {
        MersenneTwister generator = new((ulong)_config.ProjectionKey);
        Fill(generator, new float[checked((int)_a.ElementCount)], _a.Dims[1]);
        Fill(generator, values, _b.Dims[1]);
    }

    // Kaiming uniform with gain sqrt 2: the bound is sqrt(3) sqrt(2) / sqrt(columns).
    private static void Fill(MersenneTwister generator, Span<float> values, long fanIn)
    {
        float bound = (float)(Math.Sqrt(3) * (Math.Sqrt(2) / Math.Sqrt(fanIn)));
        generator.FillUniform(values, -bound, bound);
    }

    private sealed record VeraLayer(LinearModule Module, AdapterTensor LambdaB, AdapterTensor LambdaD);
}
