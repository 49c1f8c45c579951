using OrtQLoRA.Graph.Adapters.Orthogonal;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Oft;

/// <summary>OFT on one model: <c>y = base(x R)</c> with R block-diagonal and orthogonal; merged <c>W R^T</c>.</summary>
internal sealed class OftPlan : TargetedPlan
{
    private readonly OftConfig _config;
    private readonly IReadOnlyList<OftLayer> _layers;

    public OftPlan(OftConfig config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config, sites, modules)
    {
        _config = config;
        _layers = [.. modules.Select(Layer)];
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [.. _layers.Select(l => l.Rotation)];

    public override IAdapterTrainingHook? CreateTrainingHook() => _config.IsConstrained ? new OftProjection(_layers, _config.Epsilon) : null;

    public override void Insert(AdapterInsertionContext context)
    {
        foreach (OftLayer layer in _layers)
        {
            string scope = layer.Module.Path + "/oft/";
            GraphBuilder start = context.AtStart(scope);
            Value q = Skew(start, Constrained(start, context.Input(layer.Rotation)), layer.Size);
            Value r = _config.UsesNeumannSeries ? Cayley.Neumann(start, q, layer.Size, _config.NeumannTerms) : Cayley.Exact(start, q, layer.Size);
            foreach (LinearSite site in layer.Module.Sites)
            {
                SiteBranch branch = new(context, site, scope);
                branch.ReplaceInput(BlockRotation.Apply(branch.Before, branch.Input(branch.Before), r, layer.Blocks, layer.Size));
            }
        }
    }

    public override void Merge(WeightMerge merge)
    {
        foreach (OftLayer layer in _layers)
        {
            float[] values = merge.Tensor(layer.Rotation);
            int stored = (int)layer.Rotation.Dims[0];
            if (_config.IsConstrained)
            {
                values = [.. values];
                OftProjection.Project(values, stored, _config.Epsilon);
            }

            Matrix Block(int block) => Rotation(Skew(values, stored == 1 ? 0 : block, layer.Size));

            // The truncated series is no rotation, so that its inverse is not its transpose.
            merge.Transform(
                layer.Module,
                weight => BlockRotation.ApplyTransposed(weight, Block, layer.Size),
                weight => BlockRotation.ApplyTransposed(weight, block => Decompositions.Inverse(Block(block)), layer.Size));
        }
    }

    private Matrix Rotation(Matrix q) => _config.UsesNeumannSeries ? Cayley.Neumann(q, _config.NeumannTerms) : Cayley.Exact(q);

    private OftLayer Layer(LinearModule module)
    {
        int width = (int)module.InFeatures;
        int blocks = _config.Blocks > 0 ? NearestDivisor(width, _config.Blocks) : width / NearestDivisor(width, _config.BlockSize);
        int size = width / blocks;
        long[] dims = [_config.SharesBlock ? 1 : blocks, size * (size - 1L) / 2];
        return new OftLayer(module, blocks, size, Tensor(module, "oft_R.weight", dims, (start, values) =>
        {
            if (!_config.StartsAtIdentity)
            {
                start.Random.FillGaussian(values, 0.1);
            }
        }));
    }

    // As PEFT's adjust_oft_parameters: the nearest divisor, the smaller one of two that are equally near.
    private static int NearestDivisor(int width, int wanted)
    {
        if (wanted >= width)
        {
            return width;
        }

        int higher = wanted;
        while (width % higher != 0)
        {
            higher++;
        }

        int lower = wanted;
        while (width % lower != 0)
        {
            lower--;
        }

        return wanted - lower <= higher - wanted ? lower : higher;
    }

    // The projected parameter counts, but gradients are those of the projected one, as where PEFT projects in place.
    private Value Constrained(GraphBuilder b, Value parameter)
    {
        if (!_config.IsConstrained)
        {
            return parameter;
        }

        double limit = _config.Epsilon / Math.Sqrt(parameter.Shape![0].Value!.Value);
        Value norm = b.Op("Sqrt", [b.Mul(b.ReduceSum(b.Mul(parameter, parameter), true, 1), 2)]);
        Value scale = b.Op("Min", [b.Div(b.Scalar((float)limit), b.Op("Max", [norm, b.Scalar(float.Epsilon)])), b.Scalar(1f)]);
        return b.Add(parameter, AdapterInsertionContext.Detach(b, b.Sub(b.Mul(parameter, scale), parameter)));
    }

    // Q = U - U^T from the upper triangle U: positions are gathered from the values, their negatives and a zero.
    private static Value Skew(GraphBuilder b, Value triangle, int size)
    {
        int length = size * (size - 1) / 2;
        long[] indices = new long[size * size];
        Array.Fill(indices, 2L * length);
        int next = 0;
        for (int row = 0; row < size; row++)
        {
            for (int column = row + 1; column < size; column++, next++)
            {
                indices[(row * size) + column] = next;
                indices[(column * size) + row] = length + next;
            }
        }

        Value zero = b.Constant(DenseTensor.Of([triangle.Shape![0].Value!.Value, 1], new float[triangle.Shape[0].Value!.Value]));
        Value pool = b.Concat(1, triangle, b.Neg(triangle), zero);
        return b.Reshape(b.Op("Gather", [pool, b.Int64s(indices)], ("axis", 1)), -1, size, size);
    }

    private static Matrix Skew(float[] values, int block, int size)
    {
        Matrix q = new(size, size);
        int next = block * (size * (size - 1) / 2);
        for (int row = 0; row < size; row++)
        {
            for (int column = row + 1; column < size; column++, next++)
            {
                q[row, column] = values[next];
                q[column, row] = -values[next];
            }
        }

        return q;
    }
}
