using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>First values of one layer's LoRA matrices, for the initializations that leave the base alone.</summary>
internal sealed class LoraInitializer
{
    // PEFT divides the orthogonal factors by this.
    private const double OrthogonalDivisor = 10;

    private readonly LoraInitialization _kind;
    private readonly string _path;
    private readonly int _rank;
    private readonly int _inFeatures;
    private readonly int _outFeatures;

    public LoraInitializer(LoraInitialization kind, string path, int rank, long inFeatures, long outFeatures)
    {
        _kind = kind;
        _path = path;
        _rank = rank;
        _inFeatures = checked((int)inFeatures);
        _outFeatures = checked((int)outFeatures);
    }

    /// <summary>
    /// Kaiming uniform with a = sqrt 5: the bound <c>sqrt(6 / ((1 + a^2) in))</c> is <c>1/sqrt(in)</c>. Gaussian: standard
    /// deviation 1/r.
    /// </summary>
    public void A(FirstValues start, Span<float> values)
    {
        RequireFits();
        switch (_kind)
        {
            case LoraInitialization.Gaussian:
                start.Random.FillGaussian(values, 1.0 / _rank);
                break;
            case LoraInitialization.Orthogonal:
                OrthogonalHalf(start, isB: false).Values.CopyTo(values);
                break;
            default:
                start.Random.FillUniform(values, 1 / Math.Sqrt(_inFeatures));
                break;
        }
    }

    /// <summary>Zero, unless a random start is asked for: then uniform with bound <c>1/sqrt(r)</c>, weight and bias alike.</summary>
    public void B(FirstValues start, Span<float> values)
    {
        switch (_kind)
        {
            case LoraInitialization.Random:
                start.Random.FillUniform(values, 1 / Math.Sqrt(_rank));
                break;
            case LoraInitialization.Orthogonal when values.Length == _outFeatures * _rank:
                OrthogonalHalf(start, isB: true).Values.CopyTo(values);
                break;
            default:
                values.Clear();
                break;
        }
    }

    /// <summary>Zero: on embeddings the two matrices swap roles. Standard normal for a random start.</summary>
    public void EmbeddingA(FirstValues start, Span<float> values)
    {
        RequireFits();
        if (_kind == LoraInitialization.Random)
        {
            start.Random.FillGaussian(values, 1);
        }
        else
        {
            values.Clear();
        }
    }

    /// <summary>Standard normal.</summary>
    public static void EmbeddingB(FirstValues start, Span<float> values) => start.Random.FillGaussian(values, 1);

    // Odd and even rows of one orthogonal matrix span orthogonal spaces: A from the former, B from the latter, and B A = 0.
    private Matrix OrthogonalHalf(FirstValues start, bool isB)
    {
        Matrix square = new(_rank, _rank);
        start.RandomFor(_path + ".orthogonal").FillGaussian(square.Values, 1);
        Matrix q = Decompositions.Qr(square).Q;
        Matrix half = new(_rank / 2, _rank);
        for (int row = 0; row < half.Rows; row++)
        {
            q.Row((2 * row) + (isB ? 1 : 0)).CopyTo(half.Row(row));
        }

        Matrix factors = new(isB ? _outFeatures : _inFeatures, half.Rows);
        start.Random.FillGaussian(factors.Values, 1 / OrthogonalDivisor);
        Matrix product = factors.Multiply(half);
        return isB ? product : product.Transpose();
    }

    // An adapter that comes from a file may have any rank (combinations add ranks up), and narrow heads among wide layers are
    // usual; a new one beyond both sizes of the layer is a mistake.
    private void RequireFits()
    {
        if (_rank > Math.Max(_inFeatures, _outFeatures))
        {
            throw new ConfigurationException(
                $"Rank {_rank} is above the size of module '{_path}' [{_inFeatures} -> {_outFeatures}]; more than {Math.Min(_inFeatures, _outFeatures)} says nothing new there. Lower the rank, give the module another one with rank_pattern, or exclude it.");
        }

        if (_kind == LoraInitialization.Orthogonal && _rank % 2 != 0)
        {
            throw new ConfigurationException($"init_lora_weights 'orthogonal' needs an even rank, but module '{_path}' has rank {_rank}.");
        }
    }
}
