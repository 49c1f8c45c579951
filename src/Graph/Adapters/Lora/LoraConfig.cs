using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targets;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>Options of LoRA, named as in PEFT's <c>LoraConfig</c>.</summary>
public sealed class LoraConfig : AdapterConfig
{
    /// <inheritdoc/>
    public override string? PeftType => LoraMethod.Type;

    /// <summary><c>r</c>: the rank. Default 8.</summary>
    public int Rank { get; set; } = 8;

    /// <summary><c>lora_alpha</c>. Default 8.</summary>
    public double Alpha { get; set; } = 8;

    /// <summary><c>use_rslora</c>: scale by alpha / sqrt(r) instead of alpha / r.</summary>
    public bool UseRsLora { get; set; }

    /// <summary><c>lora_dropout</c>: probability with which an input of A is dropped in training.</summary>
    public double Dropout { get; set; }

    /// <summary><c>bias</c>: which biases of the base model are trained.</summary>
    public LoraBias Bias { get; set; }

    /// <summary><c>lora_bias</c>: whether B has a bias.</summary>
    public bool HasLoraBias { get; set; }

    /// <summary>
    /// <c>fan_in_fan_out</c>: whether PyTorch holds the base weights [in, out]. Written for PEFT; here the graph says it.
    /// Null: written as found in the model.
    /// </summary>
    public bool? FanInFanOut { get; set; }

    /// <summary><c>target_modules</c>; null takes every linear layer but the output head.</summary>
    public ModuleSelector? TargetModules { get; set; }

    /// <summary><c>exclude_modules</c>.</summary>
    public ModuleSelector? ExcludeModules { get; set; }

    /// <summary><c>layers_to_transform</c>.</summary>
    public IReadOnlyList<int>? LayersToTransform { get; set; }

    /// <summary><c>layers_pattern</c>.</summary>
    public IReadOnlyList<string>? LayersPattern { get; set; }

    /// <summary><c>rank_pattern</c>: ranks of single modules, by name or expression; the first that matches wins.</summary>
    public IReadOnlyList<KeyValuePair<string, double>> RankPattern { get; set; } = [];

    /// <summary><c>alpha_pattern</c>: alphas of single modules.</summary>
    public IReadOnlyList<KeyValuePair<string, double>> AlphaPattern { get; set; } = [];

    /// <summary><c>init_lora_weights</c>.</summary>
    public LoraInitialization Initialization { get; set; }

    /// <summary>Whether the initialization takes the adapter's start out of the base's weights.</summary>
    public bool ChangesBase => Initialization is LoraInitialization.Pissa or LoraInitialization.Olora or LoraInitialization.LoftQ or LoraInitialization.Corda;

    /// <summary>
    /// With <see cref="LoraInitialization.Pissa"/>: iterations of the randomized decomposition (<c>pissa_niter_N</c>); null decomposes
    /// exactly.
    /// </summary>
    public int? PissaIterations { get; set; }

    /// <summary><c>loftq_config.loftq_bits</c>: 4 for nf4. A base that is quantized here takes its own format instead.</summary>
    public int LoftQBits { get; set; } = 4;

    /// <summary><c>loftq_config.loftq_iter</c>: alternations of quantization and decomposition.</summary>
    public int LoftQIterations { get; set; } = 1;

    /// <summary><c>eva_config.rho</c>: a layer may get up to this many times the rank.</summary>
    public double EvaRho { get; set; } = 2;

    /// <summary><c>eva_config.adjust_scaling_factors</c>: whether alphas follow redistributed ranks.</summary>
    public bool EvaAdjustsScaling { get; set; } = true;

    /// <summary><c>eva_config.whiten</c>: whether directions are scaled to equal variance.</summary>
    public bool EvaWhitens { get; set; }

    /// <summary><c>corda_config.corda_method</c>: whether the adapter takes the least important directions (<c>kpm</c>) rather than the most (<c>ipm</c>).</summary>
    public bool CordaPreservesKnowledge { get; set; }

    /// <summary><c>use_dora</c>: train the length of each output's weight apart from its direction.</summary>
    public bool UseDora { get; set; }

    /// <summary>
    /// Whether A keeps its first values, as LoRA-FA's optimizer wants it. Not part of PEFT's configuration: there the optimizer
    /// freezes A.
    /// </summary>
    public bool FreezesA { get; set; }

    /// <summary><c>trainable_token_indices</c>: rows of embeddings that are trained, by name of the embedding.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<int>> TrainableTokens { get; set; } = new Dictionary<string, IReadOnlyList<int>>();

    /// <summary>Reads a configuration.</summary>
    /// <param name="json">Content of <c>adapter_config.json</c>.</param>
    /// <param name="source">Where it comes from, for messages.</param>
    /// <exception cref="ConfigurationException">Lists every fault.</exception>
    public static LoraConfig FromJson(JsonObject json, string source) => LoraConfigJson.Read(json, source);

    /// <summary>Checks the values.</summary>
    /// <exception cref="ConfigurationException">Lists every fault.</exception>
    public void Validate()
    {
        List<string> faults = [.. Faults()];
        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }
    }

    /// <inheritdoc/>
    public override JsonObject ToJson() => LoraConfigJson.Write(this);

    /// <inheritdoc/>
    public override AdapterConfig WithTargets(ModuleSelector targets)
    {
        LoraConfig copy = (LoraConfig)MemberwiseClone();
        copy.TargetModules = targets;
        return copy;
    }

    internal void RememberSource(JsonObject json) => Source = json;

    internal TargetOptions TargetOptions() => new()
    {
        TargetModules = TargetModules ?? ModuleSelector.AllLinear,
        ExcludeModules = ExcludeModules,
        ModulesToSave = AllModulesToSave,
        LayersToTransform = LayersToTransform,
        LayersPattern = LayersPattern,
    };

    internal IEnumerable<string> Faults()
    {
        if (Rank < 1)
        {
            yield return $"r is {Rank}; 1 or more is expected.";
        }

        if (!double.IsFinite(Alpha) || Alpha == 0)
        {
            yield return $"lora_alpha is {Alpha}; a number other than 0 is expected.";
        }

        if (Dropout is not (>= 0 and < 1))
        {
            yield return $"lora_dropout is {Dropout}; a number from 0 up to, but not including, 1 is expected.";
        }

        foreach ((string module, double rank) in RankPattern)
        {
            if (rank < 1 || rank != Math.Truncate(rank) || rank > int.MaxValue)
            {
                yield return $"rank_pattern gives '{module}' the rank {rank}; an integer of 1 or more is expected.";
            }
        }

        if (HasLoraBias && Initialization is not (LoraInitialization.Default or LoraInitialization.Random))
        {
            yield return "lora_bias needs init_lora_weights true or false.";
        }

        if (HasLoraBias && UseDora)
        {
            yield return "lora_bias and use_dora do not go together: DoRA scales what B gives by the weight's length, which says nothing of a bias.";
        }

        if (PissaIterations is < 0)
        {
            yield return $"init_lora_weights asks for {PissaIterations} iterations; 0 or more are expected.";
        }

        if (LoftQIterations < 1)
        {
            yield return $"loftq_iter is {LoftQIterations}; 1 or more is expected.";
        }

        if (!(EvaRho >= 1))
        {
            yield return $"eva_config.rho is {EvaRho}; a number of 1 or more is expected.";
        }
    }
}
