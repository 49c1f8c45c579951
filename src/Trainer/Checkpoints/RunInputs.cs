using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data.Formats;

namespace OrtQLoRA.Trainer.Checkpoints;

/// <summary>Fingerprints of the files that a run is made of.</summary>
internal static class RunInputs
{
    /// <summary>Reads them all once: model with external data, base weights, training data, tokenizer, initial adapter.</summary>
    internal static IReadOnlyList<FileFingerprint> Read(TrainingOptions options, OnnxModel model)
    {
        IEnumerable<string> weights = model.Graph.Initializers
            .Select(i => i.Initializer).OfType<ExternalTensor>().Where(t => !t.IsInModelFile).Select(t => t.File.Path).Distinct().Where(File.Exists);
        return
        [
            .. Files("model", options.Model),
            .. weights.Order(StringComparer.Ordinal).Select(p => FileFingerprint.Of("model", Path.GetFullPath(p))),
            .. Files("base-weights", options.BaseWeights),
            .. DataPaths.Expand(options.Data).Select(p => FileFingerprint.Of("data", Path.GetFullPath(p))),
            .. Files("tokenizer", options.Tokenizer),
            .. Files("init-adapter", options.InitAdapter),
            .. Files("base-weights", options.BaseWeights),
        ];
    }

    private static IEnumerable<FileFingerprint> Files(string role, string? path) =>
        string.IsNullOrEmpty(path) ? []
        : File.Exists(path) ? [FileFingerprint.Of(role, Path.GetFullPath(path))]
        : Directory.Exists(path)
            ? Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(f => FileFingerprint.Of(role, Path.GetFullPath(f)))
        : [];
}
