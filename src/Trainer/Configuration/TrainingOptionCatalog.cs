using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Schedules;

namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Every setting that flags and configuration files know, in the order of the help text.</summary>
public static class TrainingOptionCatalog
{
    private static readonly TrainingOptions Defaults = new();

    /// <summary>All settings.</summary>
    public static IReadOnlyList<TrainingOption> All { get; } =
    [
        new("model", "FILE", "ONNX model to fine-tune.", (o, t) => o.Model = t, o => o.Model),
        new("base-weights", "PATH", "Hugging Face checkpoint (safetensors) that supplies the model's weights, EETQ int8 included.", (o, t) => o.BaseWeights = t, o => o.BaseWeights),
        new("data", "PATH", "Training data: a .jsonl, .json, .csv, .tsv, .parquet or .txt file, a folder of such, or a pattern like 'data/*.jsonl'.", (o, t) => o.Data = t, o => o.Data),
        new("eval-data", "PATH", "Data to evaluate on after training.", (o, t) => o.EvalData = t, o => o.EvalData),
        new("out", "FOLDER", "Run folder to write.", (o, t) => o.Out = t, o => o.Out),
        Choice<TrainingTask>("task", "What is learnt; causal-lm by default.", (o, v) => o.Task = v, o => o.Task),
        new("loss-output", "NAME", "Output the loss is taken of; 'logits' or the only floating-point one by default.", (o, t) => o.LossOutput = t, o => o.LossOutput),
        Choice<Pooling>("pooling", "How token vectors become a text's vector (embedding task); mean by default.", (o, v) => o.Pooling = v, o => o.Pooling),
        new("similarity-scale", "S", $"Factor on cosines in the contrastive loss (embedding task); {Defaults.SimilarityScale} by default.", (o, t) => o.SimilarityScale = OptionText.Double(t), o => o.SimilarityScale),
        new("method", MethodNames.All, "Adapter method; lora by default.", MethodNames.Apply, o => o.Method),
        Choice<QuantizationKind>("quant", "How frozen weights are kept; none by default.", (o, v) => o.Quantization = v, o => o.Quantization),
        Modules("quant-exclude", "Linear layers that --quant leaves as they are: suffixes or one regular expression.", (o, v) => o.QuantExclude = v, o => o.QuantExclude),
        new("rank", "R", "Rank, or number of reflections or blocks; the method's default, 8 for LoRA.", (o, t) => o.Rank = OptionText.Int(t), o => o.Rank),
        new("alpha", "A", "Alpha, for methods that scale by it; 8 by default.", (o, t) => o.Alpha = OptionText.Double(t), o => o.Alpha),
        Switch("rslora", "Scale by alpha/sqrt(rank) instead of alpha/rank.", (o, v) => o.RsLora = v, o => o.RsLora),
        new("dropout", "P", "Dropout on the input of LoRA's A; 0 by default.", (o, t) => o.Dropout = OptionText.Double(t), o => o.Dropout),
        Modules("targets", "Modules to adapt: suffixes, one regular expression, or all-linear (default).", (o, v) => o.Targets = v, o => o.Targets),
        Modules("exclude-modules", "Modules to leave out: suffixes or one regular expression.", (o, v) => o.ExcludeModules = v, o => o.ExcludeModules),
        new("layers-to-transform", "NUMBERS", "Layers to adapt; all by default.", (o, t) => o.LayersToTransform = OptionText.Ints(t), o => o.LayersToTransform),
        new("rank-pattern", "PATTERN=R,...", "Ranks of single modules.", (o, t) => o.RankPattern = OptionText.Pairs(t, OptionText.Int), o => o.RankPattern),
        new("alpha-pattern", "PATTERN=A,...", "Alphas of single modules.", (o, t) => o.AlphaPattern = OptionText.Pairs(t, OptionText.Double), o => o.AlphaPattern),
        new("bias", "none|all|lora_only|boft_only|hra_only|oft_only|vera_only", "Which biases of the base are trained; METHOD_only means those of the targets; none by default.", (o, t) => o.Bias = t, o => o.Bias),
        List("modules-to-save", "Modules to train whole and save beside the adapter.", (o, v) => o.ModulesToSave = v, o => o.ModulesToSave),
        new("init-lora-weights", "NAME", "How LoRA starts: default, random, gaussian, orthogonal, pissa, pissa_niter_N, olora, loftq, eva or corda.", (o, t) => o.InitLoraWeights = t, o => o.InitLoraWeights),
        .. MethodOptionCatalog.All,
        new("init-adapter", "PATH", "Adapter to start from: PEFT folder or safetensors file.", (o, t) => o.InitAdapter = t, o => o.InitAdapter),
        new("batch", "N", $"Examples of a micro-batch; {Defaults.Batch} by default.", (o, t) => o.Batch = OptionText.Int(t), o => o.Batch),
        new("grad-accum", "N", "Micro-batches of an optimizer step; 1 by default.", (o, t) => o.GradientAccumulation = OptionText.Int(t), o => o.GradientAccumulation),
        new("chunk-tokens", "N", $"Tokens that pass the graph at a time; {Defaults.ChunkTokens} by default. Less takes less memory.", (o, t) => o.ChunkTokens = OptionText.Int(t), o => o.ChunkTokens),
        Switch("no-prepack", "Keep no second copy of frozen float weights: less memory, slower matrix products.", (o, v) => o.PrepackWeights = !v, o => !o.PrepackWeights),
        Choice<LossNormalization>("loss-normalization", "How micro-batches weigh; mean by default.", (o, v) => o.LossNormalization = v, o => o.LossNormalization),
        new("max-steps", "N", "Optimizer steps.", (o, t) => o.MaxSteps = OptionText.Long(t), o => o.MaxSteps),
        new("epochs", "N", "Passes over the data; 1 by default if --max-steps is not given.", (o, t) => o.Epochs = OptionText.Double(t), o => o.Epochs),
        new("lr", "RATE", "Peak learning rate; 2e-4 by default.", (o, t) => o.LearningRate = OptionText.Double(t), o => o.LearningRate),
        new("optimizer", "adamw|adamw-8bit|sgd|lorafa", "Optimizer; adamw by default.", (o, t) => o.Optimizer = o.Optimizer with { Name = t }, o => o.Optimizer.Name),
        new("weight-decay", "WD", "Weight decay; 0 by default.", (o, t) => o.Optimizer = o.Optimizer with { WeightDecay = OptionText.Double(t) }, o => o.Optimizer.WeightDecay),
        new("adam-beta1", "B", "AdamW's beta1; 0.9 by default.", (o, t) => o.Optimizer = o.Optimizer with { Beta1 = OptionText.Double(t) }, o => o.Optimizer.Beta1),
        new("adam-beta2", "B", "AdamW's beta2; 0.999 by default.", (o, t) => o.Optimizer = o.Optimizer with { Beta2 = OptionText.Double(t) }, o => o.Optimizer.Beta2),
        new("adam-eps", "EPS", "AdamW's epsilon; 1e-8 by default.", (o, t) => o.Optimizer = o.Optimizer with { Eps = OptionText.Double(t) }, o => o.Optimizer.Eps),
        new("momentum", "M", "SGD's momentum; 0 by default.", (o, t) => o.Optimizer = o.Optimizer with { Momentum = OptionText.Double(t) }, o => o.Optimizer.Momentum),
        Switch("nesterov", "Nesterov momentum for SGD.", (o, v) => o.Optimizer = o.Optimizer with { Nesterov = v }, o => o.Optimizer.Nesterov),
        new("max-grad-norm", "NORM", "Norm to which gradients are clipped; 1 by default, 0: none.", (o, t) => o.MaxGradNorm = OptionText.Double(t), o => o.MaxGradNorm),
        Choice<ScheduleKind>("lr-schedule", "Course of the learning rate; constant by default.", (o, v) => o.LearningRateSchedule = v, o => o.LearningRateSchedule),
        new("warmup-steps", "N", "Steps over which the learning rate rises from 0; 0 by default.", (o, t) => o.WarmupSteps = OptionText.Long(t), o => o.WarmupSteps),
        new("warmup-ratio", "SHARE", "The same as a share of all steps.", (o, t) => o.WarmupRatio = OptionText.Double(t), o => o.WarmupRatio),
        new("lr-cycles", "N", "Half cosines of cosine-with-restarts; 1 by default.", (o, t) => o.ScheduleCycles = OptionText.Int(t), o => o.ScheduleCycles),
        new("lr-power", "P", "Exponent of polynomial; 1 by default.", (o, t) => o.SchedulePower = OptionText.Double(t), o => o.SchedulePower),
        new("min-lr", "RATE", "Where polynomial and wsd end; 1e-7 and 0 by default.", (o, t) => o.MinLearningRate = OptionText.Double(t), o => o.MinLearningRate),
        new("decay-steps", "N", "Last steps over which wsd falls; a tenth of all by default.", (o, t) => o.DecaySteps = OptionText.Long(t), o => o.DecaySteps),
        Choice<DecayKind>("decay-type", "How wsd falls; cosine by default.", (o, v) => o.DecayType = v, o => o.DecayType),
        new("loraplus-ratio", "R", "LoRA+: factor of the learning rate of B matrices.", (o, t) => o.LoraPlusRatio = OptionText.Double(t), o => o.LoraPlusRatio),
        List("no-decay", "Parameters without weight decay: parts of their names.", (o, v) => o.NoDecay = v, o => o.NoDecay),
        new("ema", "DECAY", "Hand out the moving average of parameters, for example 0.999.", (o, t) => o.Ema = OptionText.Double(t), o => o.Ema),
        new("neftune-alpha", "A", "NEFTune: noise on embeddings in training, for example 5.", (o, t) => o.NeftuneAlpha = OptionText.Double(t), o => o.NeftuneAlpha),
        Switch("gradient-checkpointing", "Compute values between layers again in the backward pass: less memory, more time.", (o, v) => o.GradientCheckpointing = v, o => o.GradientCheckpointing),
        Choice<DivergencePolicy>("on-divergence", "Where loss or gradients are not finite, or the loss jumps; stop by default.", (o, v) => o.OnDivergence = v, o => o.OnDivergence),
        new("spike-factor", "F", "A loss above F times the mean before it is a jump; none by default.", (o, t) => o.SpikeFactor = OptionText.Double(t), o => o.SpikeFactor),
        new("save-every", "N", "Steps between checkpoints; none by default.", (o, t) => o.SaveEvery = OptionText.Long(t), o => o.SaveEvery),
        new("keep-checkpoints", "N", $"Last checkpoints to keep, besides the best; {Defaults.KeepCheckpoints} by default.", (o, t) => o.KeepCheckpoints = OptionText.Int(t), o => o.KeepCheckpoints),
        Switch("resume", "Go on from the last whole checkpoint under --out; from the start if there is none.", (o, v) => o.Resume = v, o => o.Resume),
        Switch("force", "Resume although data, model or settings changed, or overwrite an unfinished run.", (o, v) => o.Force = v, o => o.Force),
        new("eval-every", "N", "Steps between evaluations on --eval-data; only at the end by default.", (o, t) => o.EvalEvery = OptionText.Long(t), o => o.EvalEvery),
        new("early-stopping", "N", "End after so many evaluations without gain.", (o, t) => o.EarlyStopping = OptionText.Int(t), o => o.EarlyStopping),
        new("early-stopping-threshold", "GAIN", "Least gain in loss that counts; 0 by default.", (o, t) => o.EarlyStoppingThreshold = OptionText.Double(t), o => o.EarlyStoppingThreshold),
        Switch("load-best", "Hand out the parameters of the best evaluation.", (o, v) => o.LoadBest = v, o => o.LoadBest),
        new("samples", "N", "Examples that the trained model continues for the report; none by default.", (o, t) => o.Samples = OptionText.Int(t), o => o.Samples),
        Switch("no-report", "Write no report.html.", (o, v) => o.Report = !v, o => !o.Report),
        Switch("no-tensorboard", "Write no TensorBoard event file.", (o, v) => o.TensorBoard = !v, o => !o.TensorBoard),
        Switch("no-shuffle", "Take examples in file order.", (o, v) => o.Shuffle = !v, o => !o.Shuffle),
        new("seed", "N", "Seed of initial weights, order and dropout; 42 by default.", (o, t) => o.Seed = OptionText.Long(t), o => o.Seed),
        Choice<EngineKind>("engine", "What runs the steps; session by default. ort-training needs a build with -p:OrtFlavor=Training.", (o, v) => o.Engine = v, o => o.Engine),
        Choice<OpsMode>("ops", "Operators of the training graph; auto by default.", (o, v) => o.Ops = v, o => o.Ops),
        Choice<Int8Compute>("compute", "Arithmetic of native products; fp32 by default, auto is the fastest whose error stays below bf16's.", (o, v) => o.Compute = v, o => o.Compute),
        new("device", "cpu|cuda|cuda:N", "Where the graph runs; cpu by default.", (o, t) => o.Device = ExecutionDevice.Parse(t), o => o.Device.ToString()),
        Choice<ComputePrecision>("precision", "Precision of matrix products and activations; fp32 by default, fp16 and bf16 need a GPU.", (o, v) => o.Precision = v, o => o.Precision),
        Switch("tf32", "Let fp32 products on a GPU round their operands to TF32.", (o, v) => o.UseTf32 = v, o => o.UseTf32),
        Switch("cuda-graphs", "Record training steps as CUDA graphs and replay them: faster for small batches in few shapes on a GPU.", (o, v) => o.UseCudaGraphs = v, o => o.UseCudaGraphs),
        new("device-memory", "MB", "Memory that each session may take on a GPU; no limit by default.", (o, t) => o.DeviceMemory = OptionText.Long(t), o => o.DeviceMemory),
        new("tokenizer", "PATH", "Tokenizer for lines that hold text.", (o, t) => o.Tokenizer = t, o => o.Tokenizer),
        new("columns", "ROLE=NAME,...", "Columns by role where the data name them otherwise: text, prompt, completion, messages, label, anchor, positive, ...", (o, t) => o.Columns = OptionText.Pairs(t, v => v), o => o.Columns),
        List("labels", "Names of the classes in order, for labels that are words; those of config.json beside the model by default.", (o, v) => o.Labels = v, o => o.Labels),
        new("eval-split", "SHARE|N", "Hold back a share (below 1) or a number of the training examples to evaluate on.", (o, t) => o.EvalSplit = OptionText.Double(t), o => o.EvalSplit),
        Choice<BadLinePolicy>("on-bad-line", "What to do at a line that cannot be used; stop by default.", (o, v) => o.OnBadLine = v, o => o.OnBadLine),
        Choice<StreamingMode>("streaming", "Whether JSON lines are read as they are needed; auto does so above 64 MiB.", (o, v) => o.Streaming = v, o => o.Streaming),
        new("shuffle-buffer", "N", "Examples among which shuffling draws the next; all by default, 65536 where data are streamed.", (o, t) => o.ShuffleBuffer = OptionText.Int(t), o => o.ShuffleBuffer),
        Choice<LossTokens>("loss-on", "Tokens that count in the loss; auto: completions, the assistant's turns, all of plain texts.", (o, v) => o.LossOn = v, o => o.LossOn),
        new("chat-template", "FILE|NAME", "Template for lines that hold messages; the tokenizer's by default.", (o, t) => o.ChatTemplate = t, o => o.ChatTemplate),
        Switch("packing", "Put several examples into each row of --max-length tokens; they do not see each other (causal-lm).", (o, v) => o.Packing = v, o => o.Packing),
        Switch("group-by-length", "Make batches of examples of about one length.", (o, v) => o.GroupByLength = v, o => o.GroupByLength),
        Choice<TruncationPolicy>("truncation", "What happens to lines longer than --max-length; right cuts their end, by default.", (o, v) => o.Truncation = v, o => o.Truncation),
        Choice<PaddingPolicy>("padding", "Length to which the rows of a batch are padded; longest by default.", (o, v) => o.Padding = v, o => o.Padding),
        new("pad-to-multiple", "N", "Make padded lengths multiples of this.", (o, t) => o.PadToMultiple = OptionText.Int(t), o => o.PadToMultiple),
        new("max-length", "TOKENS", "Cut lines after so many tokens; block length of plain text (256 by default).", (o, t) => o.MaxLength = OptionText.Int(t), o => o.MaxLength),
        Switch("append-eos", "End each text with the end-of-sequence token.", (o, v) => o.AppendEos = v, o => o.AppendEos),
        new("pad-id", "ID", "Token id in padded places; the tokenizer's or 0 by default.", (o, t) => o.PadId = OptionText.Long(t), o => o.PadId),
        new("threads", "N", "Threads within an operator; one a physical core by default.", (o, t) => o.Threads = OptionText.Int(t), o => o.Threads),
        new("profile", "PREFIX", "Write ONNX Runtime's profile of the training session under this prefix.", (o, t) => o.Profile = t, o => o.Profile),
    ];

    /// <summary>Finds a setting by name.</summary>
    public static TrainingOption? Find(string name) => All.FirstOrDefault(o => o.Name == name);

    private static TrainingOption Switch(string name, string description, Action<TrainingOptions, bool> apply, Func<TrainingOptions, bool?> read) =>
        new(name, null, description, (o, t) => apply(o, OptionText.Bool(t)), o => read(o));

    private static TrainingOption Modules(
        string name, string description, Action<TrainingOptions, ModuleSelector> apply, Func<TrainingOptions, ModuleSelector?> read) =>
        new(name, "NAMES", description, (o, t) => apply(o, ModuleSelector.Parse(t)), o => read(o)?.ToJson());

    private static TrainingOption List(
        string name, string description, Action<TrainingOptions, IReadOnlyList<string>> apply, Func<TrainingOptions, IReadOnlyList<string>?> read) =>
        new(name, "NAMES", description, (o, t) => apply(o, OptionText.List(t)), read);

    private static TrainingOption Choice<T>(string name, string description, Action<TrainingOptions, T> apply, Func<TrainingOptions, T?> read)
        where T : struct, Enum =>
        new(name, OptionText.Choices<T>(), description, (o, t) => apply(o, OptionText.Choice<T>(t)), o => read(o) is T value ? OptionText.Name(value) : null);
}
