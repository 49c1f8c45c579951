using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Cli;

/// <summary>The model that a command works on.</summary>
internal sealed class ModelSource : IDisposable
{
    private ModelSource(string path) => Path = path;
    internal string Path { get; }
    internal TrainingOptions? RunOptions { get; }
    internal static ModelSource Open(string? model, string? run) => run is null && File.Exists(model) ? new ModelSource(model!) : throw new ConfigurationException($"--model names '{model}', which does not exist.");
    public void Dispose() { }
}
