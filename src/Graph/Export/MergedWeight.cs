using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// A matrix with low-rank products added, <c>W + sum_i factor_i * B_i A_i</c>, in the orientation of the base model's
/// initializer. Sums run in fp32.
/// </summary>
internal sealed class MergedWeight : ComputedTensor
{
    private readonly IMatrixRows _base;
    private readonly IReadOnlyList<LowRankTerm> _terms;
    private readonly int _width;

    /// <summary>Creates the tensor.</summary>
    /// <param name="elementType">Element type of the initializer.</param>
    /// <param name="baseRows">Rows of the base weight as the initializer lays them out.</param>
    /// <param name="dims">Dimensions of the initializer; all but the first make a row (a convolution's has its kernel there).</param>
    /// <param name="terms">What is added; each term's row factors belong to rows of the initializer.</param>
    public MergedWeight(DataType elementType, IMatrixRows baseRows, ImmutableArray<long> dims, IReadOnlyList<LowRankTerm> terms)
        : base(elementType, dims)
    {
        _base = baseRows;
        _terms = terms;
        _width = checked((int)dims.Skip(1).Aggregate(1L, (a, b) => a * b));
    }

    protected override void Compute(long first, Span<float> values)
    {
        // Whole rows go straight into place; rows that are cut off at either end take a detour.
        float[]? row = null;
        while (values.Length > 0)
        {
            (long index, long column) = Math.DivRem(first, _width);
            int count = (int)Math.Min(values.Length, _width - column);
            if (count == _width)
            {
                int rows = values.Length / _width;
                count = rows * _width;
                ComputeRows(index, values[..count]);
            }
            else
            {
                row ??= new float[_width];
                ComputeRows(index, row);
                row.AsSpan((int)column, count).CopyTo(values);
            }

            values = values[count..];
            first += count;
        }
    }

    private void ComputeRows(long firstRow, Span<float> rows)
    {
        _base.Read(firstRow, rows);
        for (int start = 0; start < rows.Length; start += _width, firstRow++)
        {
            foreach (LowRankTerm term in _terms)
            {
                term.AddTo((int)firstRow, rows.Slice(start, _width));
            }
        }
    }
}
