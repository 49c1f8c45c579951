using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// A weight after changes that look at the whole matrix. It is computed when it is first read and held only as long as
/// memory allows, so that writing a model needs memory for one layer.
/// </summary>
internal sealed class TransformedWeight : ComputedTensor
{
    private readonly LinearSite _site;
    private readonly IMatrixRows _rows;
    private readonly IReadOnlyList<WeightChange> _changes;
    private readonly Lock _lock = new();
    private readonly WeakReference<float[]> _computed = new([]);

    public TransformedWeight(LinearSite site, IMatrixRows rows, IReadOnlyList<WeightChange> changes)
        : base(site.Content.ElementType, site.Content.Dims)
    {
        _site = site;
        _rows = rows;
        _changes = changes;
    }

    protected override void Compute(long first, Span<float> values) => All().AsSpan(checked((int)first), values.Length).CopyTo(values);

    private float[] All()
    {
        lock (_lock)
        {
            if (!_computed.TryGetTarget(out float[]? values) || values.Length == 0)
            {
                values = ComputeAll();
                _computed.SetTarget(values);
            }

            return values;
        }
    }

    private float[] ComputeAll()
    {
        Matrix stored = new(checked((int)Dims[0]), checked((int)Dims[1]));
        _rows.Read(0, stored.Values);
        bool isTurned = _site.Kind == LinearKind.Embedding ? _site.IsOutByIn : !_site.IsOutByIn;
        Matrix weight = isTurned ? stored.Transpose() : stored;
        if (_site.WeightFactor != 1)
        {
            weight.Scale(_site.WeightFactor);
        }

        foreach (WeightChange change in _changes)
        {
            weight = change.Transform is { } transform ? transform(weight) : AddLowRank(weight, change.LowRank!);
        }

        if (_site.WeightFactor != 1)
        {
            weight.Scale(1 / _site.WeightFactor);
        }

        return (isTurned ? weight.Transpose() : weight).Values;
    }

    private Matrix AddLowRank(Matrix weight, LowRankFactors factors)
    {
        // An embedding's matrix is [vocabulary, dim], the transposed product.
        LowRankTerm term = LowRankTerm.OfLora(factors.A, factors.B, factors.Rank, factors.Scaling, isOutByIn: _site.Kind != LinearKind.Embedding);
        for (int row = 0; row < weight.Rows; row++)
        {
            term.AddTo(row, weight.Row(row));
        }

        return weight;
    }
}
