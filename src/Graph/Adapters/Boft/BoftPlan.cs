using OrtQLoRA.Graph.Adapters.Orthogonal;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Boft;

/// <summary>BOFT on one model: <c>y = s * (W (x R)) + bias</c>, R from the skew part of the stored blocks by the exact Cayley transform.</summary>
internal sealed class BoftPlan : TargetedPlan
{
    private readonly BoftConfig _config;
    private readonly IReadOnlyList<BoftLayer> _layers;

    public BoftPlan(BoftConfig config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config, sites, modules)
    {
        _config = config;
        _layers = [.. modules.Select(Layer)];
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [.. _layers.SelectMany(l => (AdapterTensor[])[l.Rotation, l.Scale])];

    public override void Insert(AdapterInsertionContext context)
    {
        foreach (BoftLayer layer in _layers)
        {
            string scope = layer.Module.Path + "/boft/";
            GraphBuilder start = context.AtStart(scope);
            Value p = start.Reshape(context.Input(layer.Rotation), layer.Blocks, layer.Size, layer.Size);
            Value q = start.Mul(start.Sub(p, start.Transpose(p, 0, 2, 1)), 0.5);
            Value r = Cayley.Exact(start, q, layer.Size);
            Value scale = start.Reshape(context.Input(layer.Scale), -1);
            foreach (LinearSite site in layer.Module.Sites)
            {
                SiteBranch branch = new(context, site, scope);
                branch.ReplaceInput(BlockRotation.Apply(branch.Before, branch.Input(branch.Before), r, layer.Blocks, layer.Size));
                branch.MapProduct(y => branch.Behind.Mul(y, scale));
            }
        }
    }

    public override void Merge(WeightMerge merge)
    {
        foreach (BoftLayer layer in _layers)
        {
            float[] blocks = merge.Tensor(layer.Rotation);
            float[] scale = merge.Tensor(layer.Scale);
            merge.Transform(
                layer.Module,
                weight => BlockRotation.ApplyTransposed(weight, block => Cayley.Exact(Skew(blocks, block, layer.Size)), layer.Size),
                weight => BlockRotation.ApplyTransposed(weight, block => Cayley.Exact(Skew(blocks, block, layer.Size)).Transpose(), layer.Size));
            merge.ScaleOutputs(layer.Module, scale);
        }
    }

    private BoftLayer Layer(LinearModule module)
    {
        int width = (int)module.InFeatures;
        int size = _config.BlockSize > 0 ? _config.BlockSize : width / _config.Blocks;
        if (size == 0 || width % size != 0 || (_config.Blocks > 0 && width % _config.Blocks != 0))
        {
            throw new ConfigurationException(
                $"Module '{module.Path}' has {width} inputs, which do not divide into {(_config.Blocks > 0 ? $"{_config.Blocks} blocks" : $"blocks of {size}")}. Choose another boft_block_size or boft_block_num, or exclude the module.");
        }

        AdapterTensor rotation = Tensor(module, "boft_R", [1, width / size, size, size], (start, values) =>
        {
            if (!_config.StartsAtIdentity)
            {
                start.Random.FillGaussian(values, 0.1);
            }
        });
        AdapterTensor scale = Tensor(module, "boft_s", [module.OutFeatures, 1], (start, values) =>
        {
            if (!_config.StartsAtIdentity)
            {
                start.Random.FillGaussian(values, 0.1);
            }

            for (int i = 0; i < values.Length; i++)
            {
                values[i] += 1;
            }
        });
        return new BoftLayer(module, width / size, size, rotation, scale);
    }

    private static Matrix Skew(float[] blocks, int block, int size)
    {
        Matrix q = new(size, size);
        int first = block * size * size;
        for (int row = 0; row < size; row++)
        {
            for (int column = 0; column < size; column++)
            {
                q[row, column] = (blocks[first + (row * size) + column] - blocks[first + (column * size) + row]) / 2;
            }
        }

        return q;
    }

    private sealed record BoftLayer(LinearModule Module, int Blocks, int Size, AdapterTensor Rotation, AdapterTensor Scale);
}
