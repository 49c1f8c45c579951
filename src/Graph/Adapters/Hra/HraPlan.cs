using System.Numerics.Tensors;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Hra;

/// <summary>
/// HRA on one model: <c>W H1 H2 ... Hr</c> with <c>Hi = I - 2 ui ui^T</c>, ui of length one. In the graph the product takes the
/// compact form <c>I - U T U^T</c> (Schreiber and Van Loan 1989): a low-rank change of the input instead of r passes over it.
/// </summary>
internal sealed class HraPlan : TargetedPlan
{
    private readonly HraConfig _config;
    private readonly IReadOnlyList<HraLayer> _layers;

    public HraPlan(HraConfig config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config, sites, modules)
    {
        _config = config;
        if (modules.FirstOrDefault(m => m.InFeatures < config.Rank) is { } narrow)
        {
            throw new ConfigurationException($"r is {config.Rank}, but module '{narrow.Path}' has {narrow.InFeatures} inputs only; more reflections than that say nothing new. Lower r or exclude the module.");
        }

        _layers = [.. modules.Select(Layer)];
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [.. _layers.Select(l => l.Vectors)];

    public override void Insert(AdapterInsertionContext context)
    {
        foreach (HraLayer layer in _layers)
        {
            string scope = layer.Module.Path + "/hra/";
            GraphBuilder start = context.AtStart(scope);
            (Value u, Value inner) = _config.Orthogonalizes
                ? (Orthonormal(start, context.Input(layer.Vectors)), start.Constant(Twice(_config.Rank)))
                : Compact(start, context.Input(layer.Vectors));
            Value back = start.Transpose(u, 1, 0);
            foreach (LinearSite site in layer.Module.Sites)
            {
                SiteBranch branch = new(context, site, scope);
                GraphBuilder b = branch.Before;
                Value x = branch.Input(b);

                // x (H1 ... Hr)^T = x - (x U) T^T U^T
                branch.ReplaceInput(b.Sub(x, b.MatMul(b.MatMul(b.MatMul(x, u), inner), back)));
            }
        }
    }

    public override void Merge(WeightMerge merge)
    {
        foreach (HraLayer layer in _layers)
        {
            Matrix vectors = new Matrix((int)layer.Vectors.Dims[0], (int)layer.Vectors.Dims[1], merge.Tensor(layer.Vectors)).Transpose();
            Matrix unit = _config.Orthogonalizes ? Orthonormal(vectors) : Normalized(vectors);

            // A reflection takes itself back; of several the last one first.
            Matrix Reflected(Matrix weight, IEnumerable<int> order)
            {
                foreach (int i in order)
                {
                    Reflect(weight, unit.Row(i));
                }

                return weight;
            }

            merge.Transform(
                layer.Module,
                weight => Reflected(weight, Enumerable.Range(0, unit.Rows)),
                weight => Reflected(weight, Enumerable.Range(0, unit.Rows).Reverse()));
        }
    }

    private HraLayer Layer(LinearModule module) => new(module, Tensor(module, "hra_u", [module.InFeatures, _config.Rank], (start, values) =>
    {
        // Kaiming uniform with a = sqrt 5 over the columns; pairs share a column, so half as many are drawn.
        bool isPaired = _config.StartsInPairs && _config.Rank % 2 == 0;
        int rank = _config.Rank;
        int drawn = isPaired ? rank / 2 : rank;
        float[] columns = new float[values.Length / rank * drawn];
        start.Random.FillUniform(columns, 1 / Math.Sqrt(drawn));
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = columns[(i / rank * drawn) + (isPaired ? i % rank / 2 : i % rank)];
        }
    }));

    // U with columns of length one, and T^T, where T^-1 = I/2 + the strict upper triangle of U^T U. With N twice that triangle
    // T = 2 (I + N)^-1, and since N^r = 0, (I + N)^-1 = (I - N)(I + N^2)(I + N^4)... ends.
    private (Value U, Value Inner) Compact(GraphBuilder b, Value vectors)
    {
        Value u = b.Div(vectors, b.Op("Sqrt", [b.ReduceSum(b.Mul(vectors, vectors), true, 0)]));
        int rank = _config.Rank;
        Matrix mask = new(rank, rank);
        for (int row = 0; row < rank; row++)
        {
            mask.Row(row)[(row + 1)..].Fill(2);
        }

        Value identity = b.Constant(Matrix.Identity(rank).ToTensor());
        Value power = b.Mul(b.MatMul(b.Transpose(u, 1, 0), u), b.Constant(mask.ToTensor()));
        Value inverse = b.Sub(identity, power);
        for (int degree = 2; degree < rank; degree *= 2)
        {
            power = b.MatMul(power, power);
            inverse = b.MatMul(inverse, b.Add(identity, power));
        }

        return (u, b.Transpose(b.Mul(inverse, 2), 1, 0));
    }

    private Value Orthonormal(GraphBuilder b, Value vectors)
    {
        Value? basis = null;
        for (int i = 0; i < _config.Rank; i++)
        {
            Value column = b.Op("Slice", [vectors, b.Int64s(i), b.Int64s(i + 1), b.Int64s(1)]);
            if (basis is not null)
            {
                column = b.Sub(column, b.MatMul(basis, b.MatMul(b.Transpose(basis, 1, 0), column)));
            }

            column = b.Div(column, b.Op("Sqrt", [b.ReduceSum(b.Mul(column, column), true, 0)]));
            basis = basis is null ? column : b.Concat(1, basis, column);
        }

        return basis!;
    }

    private static DenseTensor Twice(int rank)
    {
        Matrix matrix = Matrix.Identity(rank);
        matrix.Scale(2);
        return matrix.ToTensor();
    }

    // Rows are the vectors from here on.
    private static Matrix Normalized(Matrix vectors)
    {
        Matrix unit = vectors.Clone();
        unit.ScaleRows([.. vectors.RowNorms().Select(n => 1 / n)]);
        return unit;
    }

    private static Matrix Orthonormal(Matrix vectors)
    {
        Matrix basis = vectors.Clone();
        for (int i = 0; i < basis.Rows; i++)
        {
            Span<float> row = basis.Row(i);
            for (int j = 0; j < i; j++)
            {
                float dot = TensorPrimitives.Dot<float>(basis.Row(j), row);
                TensorPrimitives.MultiplyAdd(basis.Row(j), -dot, row, row);
            }

            TensorPrimitives.Divide(row, TensorPrimitives.Norm<float>(row), row);
        }

        return basis;
    }

    // W := W (I - 2 u u^T)
    private static void Reflect(Matrix weight, ReadOnlySpan<float> u)
    {
        for (int row = 0; row < weight.Rows; row++)
        {
            Span<float> values = weight.Row(row);
            float dot = TensorPrimitives.Dot(values, u);
            TensorPrimitives.MultiplyAdd(u, -2 * dot, values, values);
        }
    }

    private sealed record HraLayer(LinearModule Module, AdapterTensor Vectors);
}
