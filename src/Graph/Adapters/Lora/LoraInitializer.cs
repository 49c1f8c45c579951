namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>First values of one layer's LoRA matrices.</summary>
internal sealed class LoraInitializer
{
    private readonly LoraInitialization _kind;
    private readonly int _rank;
    private readonly long _inFeatures;

    public LoraInitializer(LoraInitialization kind, int rank, long inFeatures)
    {
        _kind = kind;
        _rank = rank;
        _inFeatures = inFeatures;
    }

    /// <summary>
    /// Kaiming uniform with a = sqrt 5: the bound <c>sqrt(6 / ((1 + a^2) in))</c> is <c>1/sqrt(in)</c>. Gaussian: standard
    /// deviation 1/r.
    /// </summary>
    public void A(FirstValues start, Span<float> values)
    {
        RequireComputable();
        if (_kind == LoraInitialization.Gaussian)
        {
            start.Random.FillGaussian(values, 1.0 / _rank);
        }
        else
        {
            start.Random.FillUniform(values, 1 / Math.Sqrt(_inFeatures));
        }
    }

    /// <summary>Zero, unless a random start is asked for: then uniform with bound <c>1/sqrt(r)</c>, weight and bias alike.</summary>
    public void B(FirstValues start, Span<float> values)
    {
        RequireComputable();
        if (_kind == LoraInitialization.Random)
        {
            start.Random.FillUniform(values, 1 / Math.Sqrt(_rank));
        }
        else
        {
            values.Clear();
        }
    }

    /// <summary>Zero: on embeddings the two matrices swap roles. Standard normal for a random start.</summary>
    public void EmbeddingA(FirstValues start, Span<float> values)
    {
        RequireComputable();
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
    public void EmbeddingB(FirstValues start, Span<float> values)
    {
        RequireComputable();
        start.Random.FillGaussian(values, 1);
    }

    private void RequireComputable()
    {
        if (_kind == LoraInitialization.FromFile)
        {
            throw new ConfigurationException(
                "init_lora_weights names a method whose result comes with the adapter file only; give the adapter's weights (--init-adapter), or use true, false or gaussian.");
        }
    }
}
