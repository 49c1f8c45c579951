using System.Numerics.Tensors;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.LoKr;

/// <summary>
/// LoKr on one model: <c>W + alpha/r kron(w1, w2)</c>. The product is never formed in the graph: with x as [m, n],
/// <c>kron(w1, w2) x = w1 x w2^T</c>.
/// </summary>
internal sealed class LoKrPlan : TargetedPlan
{
    private readonly LoKrConfig _config;
    private readonly IReadOnlyList<LoKrLayer> _layers;

    public LoKrPlan(LoKrConfig config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config, sites, modules)
    {
        _config = config;
        ModulePatternTable<double> ranks = new("rank_pattern", config.RankPattern);
        ModulePatternTable<double> alphas = new("alpha_pattern", config.AlphaPattern);
        _layers = [.. modules.Select(m => Layer(m, (int)ranks.ValueFor(m.Path, config.Rank), alphas.ValueFor(m.Path, config.Alpha)))];
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [.. _layers.SelectMany(l => l.Left.Tensors.Concat(l.Right.Tensors))];

    public override void Insert(AdapterInsertionContext context)
    {
        foreach (LoKrLayer layer in _layers)
        {
            string scope = layer.Module.Path + "/lokr/";
            GraphBuilder start = context.AtStart(scope);
            Value left = layer.Left.Emit(start, context.Input);
            Value right = start.Transpose(start.Mul(layer.Right.Emit(start, context.Input), layer.Scaling), 1, 0);
            foreach (LinearSite site in layer.Module.Sites)
            {
                SiteBranch branch = new(context, site, scope);
                GraphBuilder b = branch.Behind;
                Value x = branch.Input(b);
                Value leading = b.ShapeOf(x, 0, x.Shape!.Rank - 1);
                Value folded = b.Reshape(x, -1, layer.Left.Columns, layer.Right.Columns);
                Value y = b.MatMul(left, b.MatMul(folded, right));
                branch.AddToProduct(b.Reshape(y, b.Concat(0, leading, b.Int64s(layer.Module.OutFeatures))));
            }
        }
    }

    public override void Merge(WeightMerge merge)
    {
        foreach (LoKrLayer layer in _layers)
        {
            Matrix left = layer.Left.Compute(merge.Tensor);
            Matrix right = layer.Right.Compute(merge.Tensor);
            merge.AddMatrix(layer.Module, () => Kronecker(left, right), layer.Scaling);
        }
    }

    private static Matrix Kronecker(Matrix left, Matrix right)
    {
        Matrix product = new(left.Rows * right.Rows, left.Columns * right.Columns);
        for (int row = 0; row < product.Rows; row++)
        {
            for (int column = 0; column < left.Columns; column++)
            {
                TensorPrimitives.Multiply(
                    right.Row(row % right.Rows), left[row / right.Rows, column], product.Row(row).Slice(column * right.Columns, right.Columns));
            }
        }

        return product;
    }

    /// <summary>Splits a dimension as LyCORIS does: by the factor if it divides, else into the divisors nearest to a square.</summary>
    internal static (int Small, int Large) Factorize(int dimension, int factor)
    {
        if (factor > 0 && dimension % factor == 0)
        {
            return (factor, dimension / factor);
        }

        int limit = factor == -1 ? dimension : factor;
        (int m, int n) = (1, dimension);
        int length = m + n;
        while (m < n)
        {
            int next = m + 1;
            while (dimension % next != 0)
            {
                next++;
            }

            int other = dimension / next;
            if (next + other > length || next > limit)
            {
                break;
            }

            (m, n) = (next, other);
            length = m + n;
        }

        return m > n ? (n, m) : (m, n);
    }

    private LoKrLayer Layer(LinearModule module, int rank, double alpha)
    {
        (int outLeft, int outRight) = Factorize((int)module.OutFeatures, _config.DecomposeFactor);
        (int inLeft, int inRight) = Factorize((int)module.InFeatures, _config.DecomposeFactor);
        bool isLeftWhole = !(_config.DecomposesBoth && rank < Math.Max(outLeft, inLeft) / 2.0);
        bool isRightWhole = !(rank < Math.Max(outRight, inRight) / 2.0);
        bool isRandom = _config.Initialization == LoKrInitialization.Random;
        bool zeroLeft = _config.Initialization == LoKrInitialization.Default;
        return new LoKrLayer(
            module,
            alpha / rank,
            Factor(module, "lokr_w1", outLeft, inLeft, isLeftWhole ? null : rank, zeroTall: zeroLeft, zeroWide: false),
            Factor(module, "lokr_w2", outRight, inRight, isRightWhole ? null : rank, zeroTall: false, zeroWide: !zeroLeft && !isRandom));
    }

    // A whole factor is zero if either of its parts would be.
    private static LoKrFactor Factor(LinearModule module, string name, int rows, int columns, int? rank, bool zeroTall, bool zeroWide) => rank is { } r
        ? new LoKrFactor(
            null,
            Tensor(module, name + "_a", [rows, r], (start, values) => Fill(start, values, r, zeroTall)),
            Tensor(module, name + "_b", [r, columns], (start, values) => Fill(start, values, columns, zeroWide)))
        : new LoKrFactor(Tensor(module, name, [rows, columns], (start, values) => Fill(start, values, columns, zeroTall || zeroWide)), null, null);

    // Kaiming uniform with a = sqrt 5: the bound is 1/sqrt(fan in).
    private static void Fill(FirstValues start, Span<float> values, int fanIn, bool isZero)
    {
        if (!isZero)
        {
            start.Random.FillUniform(values, 1 / Math.Sqrt(fanIn));
        }
    }

    private sealed record LoKrLayer(LinearModule Module, double Scaling, LoKrFactor Left, LoKrFactor Right);
}
