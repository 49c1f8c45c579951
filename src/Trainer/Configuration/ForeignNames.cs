namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Names under which Hugging Face's Trainer, PEFT and TRL know settings, so that a file from there is told the name here.</summary>
internal static class ForeignNames
{
    private static readonly Dictionary<string, string> Names = new(StringComparer.OrdinalIgnoreCase)
    {
        ["learning-rate"] = "lr",
        ["num-train-epochs"] = "epochs",
        ["per-device-train-batch-size"] = "batch",
        ["batch-size"] = "batch",
        ["gradient-accumulation-steps"] = "grad-accum",
        ["output-dir"] = "out",
        ["model-name-or-path"] = "model",
        ["train-file"] = "data",
        ["validation-file"] = "eval-data",
        ["lr-scheduler-type"] = "lr-schedule",
        ["optim"] = "optimizer",
        ["max-seq-length"] = "max-length",
        ["save-steps"] = "save-every",
        ["eval-steps"] = "eval-every",
        ["save-total-limit"] = "keep-checkpoints",
        ["load-best-model-at-end"] = "load-best",
        ["resume-from-checkpoint"] = "resume",
        ["early-stopping-patience"] = "early-stopping",
        ["neftune-noise-alpha"] = "neftune-alpha",
        ["loraplus-lr-ratio"] = "loraplus-ratio",
        ["r"] = "rank",
        ["lora-r"] = "rank",
        ["lora-alpha"] = "alpha",
        ["lora-dropout"] = "dropout",
        ["target-modules"] = "targets",
        ["use-rslora"] = "rslora",
        ["adam-epsilon"] = "adam-eps",
    };

    /// <summary>The name here for a name from there; null if it is none of theirs.</summary>
    internal static string? Find(string name) => Names.GetValueOrDefault(name);

    /// <summary>All names here that have another one there.</summary>
    internal static IEnumerable<string> Targets => Names.Values;
}
