using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Data.Formats;

namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Finds all faults of training options at once.</summary>
internal static class TrainingOptionsValidator
{
    /// <summary>Beyond any weight's own rank; larger numbers are typing errors that would take all memory.</summary>
    private const int LargestRank = 65536;

    private const int MostThreads = 1024;

    internal static void Validate(TrainingOptions options)
    {
        IReadOnlyList<string> faults = Faults(options);
        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }
    }

    /// <summary>The same for a command that writes a training graph and has no data.</summary>
    internal static void ValidateForArtifacts(TrainingOptions options)
    {
        IReadOnlyList<string> faults = Faults(options, needsData: false);
        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }
    }

    internal static IReadOnlyList<string> Faults(TrainingOptions o, bool needsData = true)
    {
        List<string> faults = [];
        void Require(bool condition, string fault)
        {
            if (!condition)
            {
                faults.Add(fault);
            }
        }

        Require(o.Model.Length > 0, "No model is given: pass --model with the ONNX file to fine-tune.");
        Require(!needsData || o.Data.Length > 0, "No training data is given: pass --data with a file (.jsonl, .json, .csv, .tsv, .parquet, .txt), a folder or a pattern.");
        Require(o.Out.Length > 0, "No folder is given: pass --out with the folder to write.");
        RequireExists(faults, "--model", o.Model);
        RequireExists(faults, "--data", DataPaths.IsPattern(o.Data) ? null : o.Data);
        RequireExists(faults, "--eval-data", o.EvalData is { } evalData && DataPaths.IsPattern(evalData) ? null : o.EvalData);
        Require(o.EvalSplit is null || IsPositive(o.EvalSplit.Value), $"--eval-split is {o.EvalSplit}; it must be a share between 0 and 1, or a number of examples.");
        Require(o.EvalSplit is null || o.EvalData is null, "--eval-split and --eval-data both say what to evaluate on; give one of them.");
        Require(o.ShuffleBuffer is null or > 0, $"--shuffle-buffer is {o.ShuffleBuffer}; it must be at least 1.");
        Require(o.PadToMultiple > 0, $"--pad-to-multiple is {o.PadToMultiple}; it must be at least 1.");
        Require(o.Padding != PaddingPolicy.MaxLength || o.MaxLength is not null, "--padding max-length needs --max-length.");
        Require(
            !o.Packing || o.Task is null or TrainingTask.CausalLm,
            $"--packing is for --task causal-lm, not {OptionText.Name(o.Task ?? TrainingTask.CausalLm)}: other tasks have one label or vector a row.");
        Require(!o.Packing || !o.GroupByLength, "--packing makes rows of about one length, so that --group-by-length has nothing to do; leave one of them out.");
        foreach (string role in o.Columns?.Keys.Except(DataRoles.All) ?? [])
        {
            faults.Add($"--columns names the role '{role}', which is not known; roles are {string.Join(", ", DataRoles.All)}.");
        }

        RequireExists(faults, "--init-adapter", o.InitAdapter);
        RequireExists(faults, "--tokenizer", o.Tokenizer);

        Require(o.Rank is null or (> 0 and <= LargestRank), $"--rank is {o.Rank}; it must lie in 1 to {LargestRank}.");
        Require(o.Alpha is null || IsPositive(o.Alpha.Value), $"--alpha is {o.Alpha}; it must be a number above 0.");
        Require(o.Dropout is null or (>= 0 and < 1), $"--dropout is {o.Dropout}; it must be at least 0 and below 1.");
        Require(o.Targets is not { Names.Count: 0 }, "--targets is empty; name module suffixes, one regular expression, or all-linear.");
        Require(o.Bias is null or "none" or "all" or "lora_only" or "boft_only" or "hra_only" or "oft_only" or "vera_only", $"--bias is '{o.Bias}'; it must be none, all or, for the biases of the targets, lora_only (boft_only, hra_only, oft_only, vera_only with those methods).");
        Require(
            o.Method is not "full" || o.Quantization == QuantizationKind.None || o.Targets is not (null or { IsAllLinear: true }),
            $"--method full trains every weight, which leaves --quant {OptionText.Name(o.Quantization)} none to freeze; choose what to train with --targets, or pass --quant none.");

        Require(o.QuantExclude is null || o.Quantization != QuantizationKind.None, "--quant-exclude leaves layers out of --quant, which is none; pass --quant eetq too.");
        faults.AddRange(DeviceFaults(o));
        Require(o.DeviceMemory >= 0, $"--device-memory is {o.DeviceMemory}; it must be 0 (no limit) or a number of megabytes.");
        Require(o.Batch > 0, $"--batch is {o.Batch}; it must be at least 1.");
        Require(IsPositive(o.SimilarityScale), $"--similarity-scale is {o.SimilarityScale}; it must be a number above 0.");
        Require(o.ChunkTokens > 0, $"--chunk-tokens is {o.ChunkTokens}; it must be at least 1.");
        Require(o.GradientAccumulation > 0, $"--grad-accum is {o.GradientAccumulation}; it must be at least 1.");
        Require(o.MaxSteps is null or > 0, $"--max-steps is {o.MaxSteps}; it must be at least 1.");
        Require(o.Epochs is null || IsPositive(o.Epochs.Value), $"--epochs is {o.Epochs}; it must be a number above 0.");
        Require(o.LearningRate >= 0 && double.IsFinite(o.LearningRate), $"--lr is {o.LearningRate}; it must be a finite number, 0 or more.");
        Require(o.MaxGradNorm >= 0 && double.IsFinite(o.MaxGradNorm), $"--max-grad-norm is {o.MaxGradNorm}; it must be a finite number, or 0 for no clipping.");
        Require(o.WarmupSteps >= 0, $"--warmup-steps is {o.WarmupSteps}; it must be 0 or more.");
        Require(o.MaxLength is null or > 1, $"--max-length is {o.MaxLength}; it must be at least 2.");
        Require(o.PadId is null or >= 0, $"--pad-id is {o.PadId}; it must be 0 or more.");
        Require(o.Threads is >= 0 and <= MostThreads, $"--threads is {o.Threads}; it must lie in 0 (one a core) to {MostThreads}.");
        ValidateCourse(o, Require);
        ValidateKeeping(o, Require);
        Require(
            o.Engine == EngineKind.Session || (!o.Device.IsCuda && o.Precision == ComputePrecision.Fp32),
            $"--engine ort-training runs on the CPU in fp32, not with --device {o.Device} --precision {OptionText.Name(o.Precision)}; train with --engine session.");
        faults.AddRange(o.Optimizer.Faults());
        return faults;
    }

    /// <summary>What is asked for that the device cannot do.</summary>
    internal static IEnumerable<string> DeviceFaults(TrainingOptions o)
    {
        if (o.Precision != ComputePrecision.Fp32 && !o.Device.IsCuda)
        {
            yield return $"--precision {OptionText.Name(o.Precision)} needs a GPU (--device cuda): ONNX Runtime has no such products on the processor. Native int8 products compute in bf16 there with --quant eetq --compute bf16.";
        }

        if (o.UseCudaGraphs && !o.Device.IsCuda)
        {
            yield return "--cuda-graphs records what runs on an NVIDIA GPU; pass --device cuda too, or leave it out.";
        }
    }

    private static void ValidateCourse(TrainingOptions o, Action<bool, string> require)
    {
        require(o.WarmupRatio is null or (>= 0 and <= 1), $"--warmup-ratio is {o.WarmupRatio}; it must lie in 0 to 1.");
        require(o.WarmupRatio is null || o.WarmupSteps == 0, "--warmup-steps and --warmup-ratio are both given; pass one of them.");
        require(o.ScheduleCycles > 0, $"--lr-cycles is {o.ScheduleCycles}; it must be at least 1.");
        require(IsPositive(o.SchedulePower), $"--lr-power is {o.SchedulePower}; it must be a number above 0.");
        require(
            o.MinLearningRate is null || (o.MinLearningRate >= 0 && o.MinLearningRate <= o.LearningRate),
            $"--min-lr is {o.MinLearningRate}; it must lie in 0 to --lr, {o.LearningRate}.");
        require(o.DecaySteps is null or > 0, $"--decay-steps is {o.DecaySteps}; it must be at least 1.");
        require(o.LoraPlusRatio is null || IsPositive(o.LoraPlusRatio.Value), $"--loraplus-ratio is {o.LoraPlusRatio}; it must be a number above 0.");
        require(o.Ema is null or (>= 0 and < 1), $"--ema is {o.Ema}; it must be at least 0 and below 1.");
        require(o.NeftuneAlpha is null || (o.NeftuneAlpha >= 0 && double.IsFinite(o.NeftuneAlpha.Value)), $"--neftune-alpha is {o.NeftuneAlpha}; it must be a finite number, 0 or more.");
        require(o.SpikeFactor is null or > 1, $"--spike-factor is {o.SpikeFactor}; it must be above 1.");
    }

    private static void ValidateKeeping(TrainingOptions o, Action<bool, string> require)
    {
        require(o.SaveEvery is null or > 0, $"--save-every is {o.SaveEvery}; it must be at least 1.");
        require(o.KeepCheckpoints > 0, $"--keep-checkpoints is {o.KeepCheckpoints}; it must be at least 1.");
        require(o.Samples >= 0, $"--samples is {o.Samples}; it must be 0 or more.");
        require(o.EvalEvery is null or > 0, $"--eval-every is {o.EvalEvery}; it must be at least 1.");
        require(o.EvalEvery is null || o.EvalData is not null, "--eval-every asks for --eval-data.");
        require(o.EarlyStopping is null or > 0, $"--early-stopping is {o.EarlyStopping}; it must be at least 1.");
        require(o.EarlyStopping is null || o.EvalEvery is not null, "--early-stopping asks for --eval-every.");
        require(o.EarlyStoppingThreshold >= 0, $"--early-stopping-threshold is {o.EarlyStoppingThreshold}; it must be 0 or more.");
        require(!o.LoadBest || o.EvalEvery is not null, "--load-best asks for --eval-every.");
        require(o.OnDivergence != DivergencePolicy.RollBack || o.SaveEvery is not null, "--on-divergence roll-back asks for --save-every: it goes back to checkpoints.");
    }

    private static bool IsPositive(double value) => value > 0 && double.IsFinite(value);

    private static void RequireExists(List<string> faults, string flag, string? path)
    {
        if (!string.IsNullOrEmpty(path) && !File.Exists(path) && !Directory.Exists(path))
        {
            faults.Add($"{flag} names '{path}', which does not exist.");
        }
    }
}
