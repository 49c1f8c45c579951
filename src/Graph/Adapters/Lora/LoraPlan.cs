using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Adapters.TrainableTokens;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>LoRA on one model: its layers, biases and saved modules.</summary>
public sealed class LoraPlan : AdapterPlan
{
    // The module names for which PEFT writes the base embedding beside a LoRA on it (EMBEDDING_LAYER_NAMES).
    private static readonly string[] EmbeddingLayerNames = ["embed_tokens", "lm_head"];

    private readonly LoraConfig _config;
    private readonly IReadOnlyList<TokenRows> _tokens;
    private readonly BaseParameters _base;
    private readonly List<SavedWeight> _savedWeights;

    internal LoraPlan(LoraConfig config, IReadOnlyList<LinearModule> modules, LinearSites sites)
        : base(config)
    {
        _config = config;
        ModulePatternTable<double> ranks = new("rank_pattern", config.RankPattern);
        ModulePatternTable<double> alphas = new("alpha_pattern", config.AlphaPattern);
        Layers = [.. modules.Select(m => Layer(m, (int)ranks.ValueFor(m.Path, config.Rank), alphas.ValueFor(m.Path, config.Alpha)))];
        _tokens = [.. config.TrainableTokens.Select(t => new TokenRows(sites, TokenRows.FindEmbedding(sites, t.Key), t.Value, "token_adapter.trainable_tokens_delta"))];
        Tensors = [.. Layers.SelectMany(l => l.Tensors), .. _tokens.Select(t => t.Tensor)];
        _base = new BaseParameters(config, sites, modules);
        _savedWeights = [.. _base.Saved];
        AddBaseEmbeddings(sites);
    }

    /// <summary>The layers, in graph order.</summary>
    public IReadOnlyList<LoraLayer> Layers { get; }

    /// <summary>Whether the adapter fits a base that its own start changed (PiSSA and its kin).</summary>
    public bool ChangesBase => _config.ChangesBase;

    /// <summary>Whether LoRA's matrices and trained weights are all there is: no magnitudes, token rows or changed base.</summary>
    public bool IsPlain => _tokens.Count == 0 && !_config.UseDora && !_config.ChangesBase;

    /// <summary>Whether EVA's directions are scaled to equal variance.</summary>
    internal bool EvaWhitens => _config.EvaWhitens;

    /// <summary>Probability with which an input of A is dropped in training.</summary>
    public double Dropout => _config.Dropout;

    /// <inheritdoc/>
    public override IReadOnlyList<AdapterTensor> Tensors { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<TrainedWeight> TrainedWeights => _base.Trained;

    /// <inheritdoc/>
    public override IReadOnlyList<SavedWeight> SavedWeights => _savedWeights;

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, string> Duplicates => _base.Duplicates;

    /// <inheritdoc/>
    public override IReadOnlyList<string> ObservedModules => _config.Initialization is LoraInitialization.Eva or LoraInitialization.Corda
        ? [.. Layers.Where(l => !l.IsEmbedding).Select(l => l.Module.Path)]
        : [];

    /// <inheritdoc/>
    public override AdapterConfig ConfigFor(ILayerStatistics statistics) =>
        _config.Initialization == LoraInitialization.Eva ? EvaAllocation.Redistribute(this, _config, statistics) : _config;

    /// <inheritdoc/>
    public override void Insert(AdapterInsertionContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        foreach (LoraLayer layer in Layers)
        {
            LoraBranch.Insert(context, layer, Dropout);
        }

        foreach (TokenRows tokens in _tokens)
        {
            tokens.Insert(context);
        }
    }

    /// <inheritdoc/>
    public override void Prepare(BasePreparation preparation)
    {
        ArgumentNullException.ThrowIfNull(preparation);
        LoraPreparation.Run(this, _config, preparation);
    }

    /// <inheritdoc/>
    public override string? MergeObstacle => Layers.FirstOrDefault(l => l.Groups > 1) is { } grouped
        ? $"The adapter of '{grouped.Module.Path}' reads all channels, but that convolution keeps {grouped.Groups} groups of them apart, so that its weight cannot hold the change. Train without it (exclude_modules), or keep the adapter beside the model."
        : null;

    /// <inheritdoc/>
    public override void Merge(WeightMerge merge)
    {
        ArgumentNullException.ThrowIfNull(merge);
        foreach (TokenRows tokens in _tokens)
        {
            tokens.Merge(merge);
        }

        foreach (LoraLayer layer in Layers)
        {
            merge.AddLowRank(layer.Module, merge.Tensor(layer.A), merge.Tensor(layer.B), layer.Rank, layer.Scaling);
            if (layer.Magnitude is not null)
            {
                float[] magnitudes = merge.Tensor(layer.Magnitude);
                merge.Transform(layer.Module, weight => Rescale(weight, magnitudes, layer.IsEmbedding));
            }

            if (layer.Bias is not null)
            {
                float[] bias = merge.Tensor(layer.Bias);
                System.Numerics.Tensors.TensorPrimitives.Multiply(bias, (float)layer.Scaling, bias);
                merge.AddToBias(layer.Module, bias);
            }
        }
    }

    private LoraLayer Layer(LinearModule module, int rank, double alpha)
    {
        double scaling = alpha / (_config.UseRsLora ? Math.Sqrt(rank) : rank);
        if (module.Kind == LinearKind.Convolution)
        {
            return Convolution(module, rank, scaling);
        }

        bool isEmbedding = module.Kind == LinearKind.Embedding;
        LoraInitializer initializer = new(_config.Initialization, module.Path, rank, module.InFeatures, module.OutFeatures);
        AdapterTensor a = Tensor(module, isEmbedding ? "lora_embedding_A" : "lora_A.weight", [rank, module.InFeatures], isEmbedding ? initializer.EmbeddingA : initializer.A);
        AdapterTensor b = Tensor(module, isEmbedding ? "lora_embedding_B" : "lora_B.weight", [module.OutFeatures, rank], isEmbedding ? LoraInitializer.EmbeddingB : initializer.B);
        if (_config.FreezesA && !isEmbedding)
        {
            AdapterTensor frozen = a with { IsTrained = false };
            a = frozen;
            b = b with { Preconditioner = values => FreePart(new Matrix(rank, (int)module.InFeatures, values(frozen)), scaling) };
        }

        AdapterTensor? bias = _config.HasLoraBias && !isEmbedding ? Tensor(module, "lora_B.bias", [module.OutFeatures], initializer.B) : null;
        LoraLayer layer = new(module, rank, scaling, a, b, bias, null);
        return _config.UseDora
            ? layer with { Magnitude = Tensor(module, "lora_magnitude_vector", [module.OutFeatures], (start, values) => DoraScale.Start(layer, start.Of(a), start.Of(b)).CopyTo(values)) }
            : layer;
    }

    // A convolves as the base does, over all channels; B mixes channels, in the base's groups.
    private LoraLayer Convolution(LinearModule module, int rank, double scaling)
    {
        string? unsupported = _config.UseDora ? "use_dora"
            : _config.FreezesA ? "LoRA-FA"
            : _config.Initialization is not (LoraInitialization.Default or LoraInitialization.Random or LoraInitialization.Gaussian) ? $"init_lora_weights '{_config.Initialization}'"
            : null;
        if (unsupported is not null)
        {
            throw new ConfigurationException($"{unsupported} works on matrices, but module '{module.Path}' is a convolution. Leave it out with exclude_modules, or use plain LoRA.");
        }

        long groups = module.Sites[0].Node.GetInt("group", 1);
        if (rank % groups != 0)
        {
            throw new ConfigurationException(
                $"Module '{module.Path}' is a convolution of {groups} groups, of which rank {rank} is no multiple. Give it another rank with rank_pattern, or leave it out with exclude_modules.");
        }

        long[] kernel = [.. module.Sites[0].Content.Dims.Skip(2)];
        LoraInitializer ofA = new(_config.Initialization, module.Path, rank, module.InFeatures * kernel.Aggregate(1L, (a, b) => a * b), module.OutFeatures);
        LoraInitializer ofB = new(_config.Initialization, module.Path, (int)(rank / groups), module.InFeatures, module.OutFeatures);
        AdapterTensor a = Tensor(module, "lora_A.weight", [rank, module.InFeatures, .. kernel], ofA.A);
        AdapterTensor b = Tensor(module, "lora_B.weight", [module.OutFeatures, rank / groups, .. kernel.Select(_ => 1L)], ofB.B);
        return new LoraLayer(module, rank, scaling, a, b, _config.HasLoraBias ? Tensor(module, "lora_B.bias", [module.OutFeatures], ofB.B) : null, null);
    }

    // LoRA-FA: g_B = 1/s^2 dB (A A^T + eps I)^-1, the B whose change comes nearest to full fine-tuning's.
    private static Matrix FreePart(Matrix a, double scaling)
    {
        Matrix inverse = Decompositions.PseudoInverse(a.Multiply(a.Transpose()), 1e-8);
        inverse.Scale((float)(1 / (scaling * scaling)));
        return inverse;
    }

    // DoRA: each output's row gets the length m.
    private static Matrix Rescale(Matrix weight, float[] magnitudes, bool isEmbedding)
    {
        float[] norms = DoraScale.Norms(weight, isEmbedding);
        float[] factors = [.. magnitudes.Zip(norms, (m, n) => m / n)];
        if (isEmbedding)
        {
            weight.ScaleColumns(factors);
        }
        else
        {
            weight.ScaleRows(factors);
        }

        return weight;
    }

    private static AdapterTensor Tensor(LinearModule module, string suffix, long[] dims, Action<FirstValues, Span<float>> initialize)
    {
        string name = $"{module.Path}.{suffix}";
        return new AdapterTensor(name, PeftKeys.Of(name), dims, initialize);
    }

    // PEFT's save_embedding_layers="auto": where a target is called embed_tokens or lm_head, the targeted input embedding
    // and output head are written with their base weights.
    private void AddBaseEmbeddings(LinearSites sites)
    {
        bool isNamed = _config.TargetModules switch
        {
            { Names: { } names } => names.Any(EmbeddingLayerNames.Contains),
            { Regex: { } regex } => EmbeddingLayerNames.Any(n => regex.Contains(n, StringComparison.Ordinal)),
            _ => false,
        };
        if (!isNamed)
        {
            return;
        }

        foreach (LinearModule module in Layers.Select(l => l.Module).Where(m => m.IsOutputHead || m.Path.Split('.')[^1] == "embed_tokens"))
        {
            foreach (ModelParameter parameter in sites.Parameters.Where(p => p.WeightOf == module || p.BiasOf == module))
            {
                string key = PeftKeys.OfBaseLayer(module.Path, parameter.WeightOf is not null ? "weight" : "bias");
                if (TrainedWeights.All(t => t.FileKey != key))
                {
                    _savedWeights.Add(new SavedWeight(parameter, key));
                }
            }
        }
    }
}
