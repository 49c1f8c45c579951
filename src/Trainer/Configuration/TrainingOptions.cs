using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Schedules;

namespace OrtQLoRA.Trainer.Configuration;

/// <summary>
/// Everything that decides a training run. Names are those of the command line's flags and of the keys in a
/// <c>--config</c> file. Null means: from the initial adapter if one is given, else the default stated.
/// </summary>
public sealed class TrainingOptions
{
    /// <summary>The ONNX model to fine-tune: a file, or a folder of ONNX Runtime GenAI or Optimum that holds one.</summary>
    public string Model { get; set; } = "";

    /// <summary>
    /// A Hugging Face checkpoint whose weights are used instead of the model's own, EETQ's int8 included: a safetensors file, its
    /// index or its folder. Null for the model's own.
    /// </summary>
    public string? BaseWeights { get; set; }

    /// <summary>The training data: a JSON lines, JSON, CSV, TSV, Parquet or text file, a folder of such, or a pattern.</summary>
    public string Data { get; set; } = "";

    /// <summary>Data to evaluate on after training; null for none.</summary>
    public string? EvalData { get; set; }

    /// <summary>The run folder to write.</summary>
    public string Out { get; set; } = "";

    /// <summary>What is learnt; causal language modelling by default.</summary>
    public TrainingTask? Task { get; set; }

    /// <summary>The output that the loss is taken of; null for the one named <c>logits</c>, or the only floating-point one.</summary>
    public string? LossOutput { get; set; }

    /// <summary>How token vectors become the vector of a text (embedding task).</summary>
    public Pooling Pooling { get; set; }

    /// <summary>Factor on cosines in the contrastive loss, 1/temperature (embedding task).</summary>
    public double SimilarityScale { get; set; } = ContrastiveLoss.DefaultScale;

    /// <summary>
    /// The adapter method: a name in <see cref="Graph.Adapters.AdapterRegistry"/> (<c>lora</c>, <c>ia3</c>, <c>full</c>...), or <c>dora</c>
    /// for LoRA with DoRA. That of the initial adapter, or LoRA, by default.
    /// </summary>
    public string? Method { get; set; }

    /// <summary>
    /// The method's own options under PEFT's keys, for example <c>oft_block_size</c>; they override the initial adapter's. In C# a
    /// configuration class (<see cref="Adapter"/>) says the same.
    /// </summary>
    public IDictionary<string, JsonNode?> MethodOptions { get; private set; } = new SortedDictionary<string, JsonNode?>(StringComparer.Ordinal);

    /// <summary>
    /// The adapter's configuration, for example a <see cref="Graph.Adapters.Oft.OftConfig"/>; other options override it. Null builds
    /// one from them. Not part of configuration files, which hold the options.
    /// </summary>
    public AdapterConfig? Adapter { get; set; }

    /// <summary>How frozen weights are kept.</summary>
    public QuantizationKind Quantization { get; set; }

    /// <summary>
    /// Linear layers that are not quantized but stay as the model has them: suffixes of module paths or one regular
    /// expression. Null quantizes all but the output head.
    /// </summary>
    public ModuleSelector? QuantExclude { get; set; }

    /// <summary>LoRA rank; 8 by default, as PEFT's.</summary>
    public int? Rank { get; set; }

    /// <summary>LoRA alpha; 8 by default, as PEFT's.</summary>
    public double? Alpha { get; set; }

    /// <summary>Whether the scaling is alpha/sqrt(rank) rather than alpha/rank; false by default.</summary>
    public bool? RsLora { get; set; }

    /// <summary>Dropout on the input of LoRA's A; 0 by default.</summary>
    public double? Dropout { get; set; }

    /// <summary>
    /// Modules to adapt (LoRA) or weights to train (full): suffixes of module paths, one regular expression that matches
    /// whole paths, or <c>all-linear</c>, the default.
    /// </summary>
    public ModuleSelector? Targets { get; set; }

    /// <summary>Modules to leave out, in the same form.</summary>
    public ModuleSelector? ExcludeModules { get; set; }

    /// <summary>Layer numbers to adapt; null for all.</summary>
    public IReadOnlyList<int>? LayersToTransform { get; set; }

    /// <summary>Ranks of single modules by regular expression.</summary>
    public IReadOnlyDictionary<string, int>? RankPattern { get; set; }

    /// <summary>Alphas of single modules by regular expression.</summary>
    public IReadOnlyDictionary<string, double>? AlphaPattern { get; set; }

    /// <summary>Which biases of the base are trained: <c>none</c> (default), <c>all</c> or <c>lora_only</c>.</summary>
    public string? Bias { get; set; }

    /// <summary>Modules to train whole and save beside the adapter.</summary>
    public IReadOnlyList<string>? ModulesToSave { get; set; }

    /// <summary>How LoRA starts: <c>default</c> (Kaiming-uniform A, zero B) or <c>gaussian</c>.</summary>
    public string? InitLoraWeights { get; set; }

    /// <summary>An adapter to start from: a PEFT folder or a safetensors file.</summary>
    public string? InitAdapter { get; set; }

    /// <summary>Examples of a micro-batch.</summary>
    public int Batch { get; set; } = 8;

    /// <summary>Micro-batches of an optimizer step.</summary>
    public int GradientAccumulation { get; set; } = 1;

    /// <summary>
    /// Tokens that pass the graph at a time: a larger micro-batch is cut into parts of whole rows whose gradients add up to
    /// its own. Less memory, the same result up to rounding.
    /// </summary>
    public int ChunkTokens { get; set; } = 512;

    /// <summary>
    /// Whether ONNX Runtime keeps a second copy of frozen float weights in the layout that its matrix product likes best:
    /// faster for the price of that memory.
    /// </summary>
    public bool PrepackWeights { get; set; } = true;

    /// <summary>How micro-batches weigh.</summary>
    public LossNormalization LossNormalization { get; set; }

    /// <summary>Optimizer steps; null for as many as the epochs have.</summary>
    public long? MaxSteps { get; set; }

    /// <summary>Passes over the data; 1 by default if no number of steps is given.</summary>
    public double? Epochs { get; set; }

    /// <summary>Peak learning rate.</summary>
    public double LearningRate { get; set; } = 2e-4;

    /// <summary>Optimizer and its hyperparameters. Weight decay is 0 unless set, as in Hugging Face's Trainer.</summary>
    public OptimizerSettings Optimizer { get; set; } = new() { WeightDecay = 0 };

    /// <summary>Norm to which gradients are clipped; 0 for no clipping.</summary>
    public double MaxGradNorm { get; set; } = 1;

    /// <summary>Course of the learning rate.</summary>
    public ScheduleKind LearningRateSchedule { get; set; }

    /// <summary>Steps over which the learning rate rises from 0.</summary>
    public long WarmupSteps { get; set; }

    /// <summary>The same as a share of all steps, rounded up; null to take <see cref="WarmupSteps"/>.</summary>
    public double? WarmupRatio { get; set; }

    /// <summary>Half cosines of the schedule cosine-with-restarts.</summary>
    public int ScheduleCycles { get; set; } = 1;

    /// <summary>Exponent of the schedule polynomial.</summary>
    public double SchedulePower { get; set; } = 1;

    /// <summary>Rate to which polynomial and wsd fall; null for 1e-7 with polynomial, as in Transformers, and 0 with wsd.</summary>
    public double? MinLearningRate { get; set; }

    /// <summary>Steps of the decay of wsd; null for a tenth of all steps, rounded up.</summary>
    public long? DecaySteps { get; set; }

    /// <summary>Course of the decay of wsd.</summary>
    public DecayKind DecayType { get; set; }

    /// <summary>Factor of the learning rate of LoRA's B matrices (LoRA+, Hayou et al., arXiv 2402.12354); null for the same rate as A.</summary>
    public double? LoraPlusRatio { get; set; }

    /// <summary>Parameters without weight decay: parts of their names, for example <c>bias</c>; null for none.</summary>
    public IReadOnlyList<string>? NoDecay { get; set; }

    /// <summary>Decay of the moving average of parameters that the run hands out instead of the last ones; null for none.</summary>
    public double? Ema { get; set; }

    /// <summary>Size of the noise on embeddings in training (NEFTune, Jain et al., arXiv 2310.05914); null for none.</summary>
    public double? NeftuneAlpha { get; set; }

    /// <summary>Whether the backward pass computes values between decoder layers again instead of keeping them: less memory, more time.</summary>
    public bool GradientCheckpointing { get; set; }

    /// <summary>What to do where a step goes wrong.</summary>
    public DivergencePolicy OnDivergence { get; set; }

    /// <summary>A loss above so many times the mean of those before it counts as gone wrong too; null looks for NaN and infinity only.</summary>
    public double? SpikeFactor { get; set; }

    /// <summary>Steps between checkpoints; the last step gets one too. Null for none, but a cancelled run always leaves one.</summary>
    public long? SaveEvery { get; set; }

    /// <summary>How many of the last checkpoints to keep; that of the best evaluation stays besides.</summary>
    public int KeepCheckpoints { get; set; } = 2;

    /// <summary>Whether to go on from the last whole checkpoint in <see cref="Out"/>; from the start if there is none.</summary>
    public bool Resume { get; set; }

    /// <summary>Whether to go on although data, model or settings changed, or to overwrite a run that is not finished.</summary>
    public bool Force { get; set; }

    /// <summary>Examples whose beginnings the trained model continues for the report; 0 for none.</summary>
    public int Samples { get; set; }

    /// <summary>Whether to write <c>report.html</c> at the end.</summary>
    public bool Report { get; set; } = true;

    /// <summary>Whether to write a TensorBoard event file.</summary>
    public bool TensorBoard { get; set; } = true;

    /// <summary>Steps between evaluations on <see cref="EvalData"/>; null evaluates after training only.</summary>
    public long? EvalEvery { get; set; }

    /// <summary>Evaluations without gain after which the run ends; null for no early end.</summary>
    public int? EarlyStopping { get; set; }

    /// <summary>By how much a loss must be lower than the best to count as gain.</summary>
    public double EarlyStoppingThreshold { get; set; }

    /// <summary>Whether the run hands out the parameters of the best evaluation instead of the last ones.</summary>
    public bool LoadBest { get; set; }

    /// <summary>Whether each epoch takes the examples in a new random order.</summary>
    public bool Shuffle { get; set; } = true;

    /// <summary>Seed of initial weights, order and dropout.</summary>
    public long Seed { get; set; } = 42;

    /// <summary>Which operators the training graph may use.</summary>
    public OpsMode Ops { get; set; }

    /// <summary>What runs the steps.</summary>
    public EngineKind Engine { get; set; }

    /// <summary>
    /// How native operators multiply by int8 weights; without them it has no effect. Every mode but fp32 rounds activations,
    /// so that a run no longer follows another framework's step by step.
    /// </summary>
    public Int8Compute Compute { get; set; } = Int8Compute.Fp32;

    /// <summary>Where the graph runs: <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</summary>
    public ExecutionDevice Device { get; set; }

    /// <summary>
    /// Precision in which matrix products, and what lies between them, compute; trained parameters, sums, norms and the loss
    /// stay fp32. Half precision needs a GPU.
    /// </summary>
    public ComputePrecision Precision { get; set; }

    /// <summary>Whether fp32 products on a GPU may round their operands to TF32.</summary>
    public bool UseTf32 { get; set; }

    /// <summary>Whether training steps are recorded as CUDA graphs and replayed: for small batches in few shapes on a GPU.</summary>
    public bool UseCudaGraphs { get; set; }

    /// <summary>Megabytes that each session's arena may take on a GPU; 0 for no limit.</summary>
    public long DeviceMemory { get; set; }

    /// <summary>Tokenizer for data lines that hold text: a tokenizer file, or a folder that holds one.</summary>
    public string? Tokenizer { get; set; }

    /// <summary>Column by role (<c>text</c>, <c>prompt</c>, <c>label</c>, ...) where the data name it otherwise.</summary>
    public IReadOnlyDictionary<string, string>? Columns { get; set; }

    /// <summary>Names of the classes in order, for labels that are words; null for those of the model's config.json.</summary>
    public IReadOnlyList<string>? Labels { get; set; }

    /// <summary>
    /// What of the training data is held back to evaluate on: below 1 a share, else a number of examples, chosen by the seed;
    /// null for nothing.
    /// </summary>
    public double? EvalSplit { get; set; }

    /// <summary>What happens at a record that cannot be used.</summary>
    public BadLinePolicy OnBadLine { get; set; }

    /// <summary>Whether data are kept in memory or read as they are needed.</summary>
    public StreamingMode Streaming { get; set; }

    /// <summary>Which tokens count in the loss of a causal language model.</summary>
    public LossTokens LossOn { get; set; }

    /// <summary>A file with a chat template, or the name of one of the tokenizer's; null for its default one.</summary>
    public string? ChatTemplate { get; set; }

    /// <summary>What happens to examples longer than <see cref="MaxLength"/>.</summary>
    public TruncationPolicy Truncation { get; set; }

    /// <summary>The length to which the rows of a batch are padded.</summary>
    public PaddingPolicy Padding { get; set; }

    /// <summary>Padded lengths are multiples of this; 1 for any.</summary>
    public int PadToMultiple { get; set; } = 1;

    /// <summary>Whether rows of <see cref="MaxLength"/> tokens hold several examples that do not see each other (causal-lm).</summary>
    public bool Packing { get; set; }

    /// <summary>Whether batches are made of examples of about one length.</summary>
    public bool GroupByLength { get; set; }

    /// <summary>
    /// Examples among which the next one is drawn while shuffling; null for all of them, or 65,536 where data are streamed.
    /// </summary>
    public int? ShuffleBuffer { get; set; }

    /// <summary>Tokens after which lines are cut; blocks of plain text have this length (256 by default).</summary>
    public int? MaxLength { get; set; }

    /// <summary>Whether to end each text with the tokenizer's end-of-sequence token.</summary>
    public bool AppendEos { get; set; }

    /// <summary>Token id in padded places; null for the tokenizer's, or 0.</summary>
    public long? PadId { get; set; }

    /// <summary>Threads within an operator; 0 takes one for each physical core.</summary>
    public int Threads { get; set; }

    /// <summary>Prefix of a profile of the training session; null for none.</summary>
    public string? Profile { get; set; }

    /// <summary>The same options apart, so that changes to one do not show in the other.</summary>
    public TrainingOptions Copy()
    {
        TrainingOptions copy = (TrainingOptions)MemberwiseClone();
        copy.MethodOptions = new SortedDictionary<string, JsonNode?>(StringComparer.Ordinal);
        foreach ((string key, JsonNode? value) in MethodOptions)
        {
            copy.MethodOptions[key] = value?.DeepClone();
        }

        return copy;
    }

    /// <summary>Puts the model's file in the place of a folder, and the folder's tokenizer where none is named.</summary>
    public void ResolveModelFolder()
    {
        Tokenizer ??= ModelFolder.Tokenizer(Model);
        Model = ModelFolder.Resolve(Model);
    }

    /// <summary>The course of the learning rate in a run of so many steps.</summary>
    internal ScheduleSettings Schedule(long totalSteps) => new()
    {
        Kind = LearningRateSchedule,
        LearningRate = LearningRate,
        TotalSteps = totalSteps,
        WarmupSteps = WarmupRatio is double ratio ? (long)Math.Ceiling(ratio * totalSteps) : WarmupSteps,
        MinLearningRate = MinLearningRate ?? (LearningRateSchedule == ScheduleKind.Polynomial ? Math.Min(1e-7, LearningRate) : 0),
        Cycles = ScheduleCycles,
        Power = SchedulePower,
        DecaySteps = DecaySteps ?? (totalSteps + 9) / 10,
        Decay = DecayType,
    };

    /// <summary>Every fault of the options; empty if there is none. Files are looked at when they are read.</summary>
    public IReadOnlyList<string> Faults() => TrainingOptionsValidator.Faults(this);
}
