using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Cli;

/// <summary>The model that a command works on: a file, or a run's base and adapter merged into a temporary one.</summary>
internal sealed class ModelSource : IDisposable
{
    private readonly DirectoryInfo? _temporary;

    private ModelSource(string path, TrainingOptions? runOptions, DirectoryInfo? temporary)
    {
        Path = path;
        RunOptions = runOptions;
        _temporary = temporary;
    }

    /// <summary>A plain ONNX model.</summary>
    internal string Path { get; }

    /// <summary>Options of the run, if there is one.</summary>
    internal TrainingOptions? RunOptions { get; }

    /// <summary>Finds or makes the model.</summary>
    /// <exception cref="ConfigurationException">Neither or both are given, or the file is not there.</exception>
    internal static ModelSource Open(string? model, string? run)
    {
        if (model is null == run is null)
        {
            throw new ConfigurationException("Pass either --model with an ONNX file or --run with a run folder.");
        }

        if (run is null)
        {
            return File.Exists(model) || Directory.Exists(model) ? new ModelSource(ModelFolder.Resolve(model!), null, null) : throw new ConfigurationException($"--model names '{model}', which does not exist.");
        }

        RunFolder folder = RunFolder.Open(run);
        DirectoryInfo temporary = Directory.CreateTempSubdirectory("ortqlora-");
        try
        {
            string path = System.IO.Path.Combine(temporary.FullName, "merged.onnx");
            RunExporter.ExportMerged(folder, path);
            return new ModelSource(path, folder.ReadOptions(), temporary);
        }
        catch
        {
            temporary.Delete(recursive: true);
            throw;
        }
    }

    public void Dispose() => _temporary?.Delete(recursive: true);
}
