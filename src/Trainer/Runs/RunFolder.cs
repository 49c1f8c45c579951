using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Reports.TensorBoard;

namespace OrtQLoRA.Trainer.Runs;

/// <summary>
/// The folder that a run writes: <c>config.resolved.json</c>, <c>metrics.jsonl</c>, <c>quantization.json</c>,
/// <c>base.json</c>, <c>adapter/</c>, <c>best/</c> and <c>checkpoints/</c>. Files appear whole or not at all; metrics grow line by line.
/// </summary>
public sealed class RunFolder
{
    // Those that Prepare created, the innermost first.
    private readonly IReadOnlyList<string> _created;

    private RunFolder(string path, IReadOnlyList<string> created)
    {
        Path = path;
        _created = created;
    }

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>The adapter in PEFT's form.</summary>
    public string AdapterFolder => System.IO.Path.Combine(Path, "adapter");

    /// <summary>The adapter of the best evaluation, in the same form.</summary>
    public string BestFolder => System.IO.Path.Combine(Path, "best");

    /// <summary>What the run can go on from.</summary>
    public string CheckpointsFolder => System.IO.Path.Combine(Path, "checkpoints");

    /// <summary>The parameters of the best evaluation, for <c>--load-best</c>.</summary>
    internal string BestParametersFile => System.IO.Path.Combine(BestFolder, "parameters.safetensors");

    /// <summary>One line a step.</summary>
    public string MetricsFile => System.IO.Path.Combine(Path, "metrics.jsonl");

    /// <summary>All options of the run, in the form that <c>--config</c> reads.</summary>
    public string ConfigFile => System.IO.Path.Combine(Path, "config.resolved.json");

    /// <summary>Error of each quantized weight.</summary>
    public string QuantizationFile => System.IO.Path.Combine(Path, "quantization.json");

    /// <summary>What model was trained, with the hash of its weights.</summary>
    public string BaseFile => System.IO.Path.Combine(Path, Graph.Export.Runs.BaseModelRecord.FileName);

    /// <summary>Result of the evaluation after training.</summary>
    public string EvaluationFile => System.IO.Path.Combine(Path, "eval.json");

    /// <summary>What the trained model makes of prompts from the data.</summary>
    public string SamplesFile => System.IO.Path.Combine(Path, "samples.jsonl");

    /// <summary>The report to look at.</summary>
    public string ReportFile => System.IO.Path.Combine(Path, "report.html");

    /// <summary>Creates the folder if need be, and makes sure that files can be written there.</summary>
    /// <exception cref="FileWriteException">They cannot.</exception>
    public static RunFolder Prepare(string path)
    {
        List<string> missing = [];
        for (string? at = System.IO.Path.GetFullPath(path); at is not null && !Directory.Exists(at); at = System.IO.Path.GetDirectoryName(at))
        {
            missing.Add(at);
        }

        RunFolder folder = new(System.IO.Path.GetFullPath(path), missing);
        try
        {
            Directory.CreateDirectory(folder.Path);
            string probe = System.IO.Path.Combine(folder.Path, ".ortqlora-probe");
            File.WriteAllBytes(probe, []);
            File.Delete(probe);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FileWriteException($"The run folder '{path}' cannot be written: {e.Message} Choose another --out or mend its permissions.", e);
        }

        return folder;
    }

    /// <summary>Opens the folder of a run that was made before.</summary>
    /// <exception cref="ConfigurationException">It is not there or lacks its configuration.</exception>
    public static RunFolder Open(string path)
    {
        RunFolder folder = new(System.IO.Path.GetFullPath(path), []);
        return File.Exists(folder.ConfigFile)
            ? folder
            : throw new ConfigurationException($"'{path}' is no run folder: it has no {System.IO.Path.GetFileName(folder.ConfigFile)}. Pass the folder given to train as --out.");
    }

    /// <summary>The options of the run.</summary>
    public TrainingOptions ReadOptions()
    {
        TrainingOptions options = new();
        TrainingOptionsFile.Apply(ConfigFile, options);
        return options;
    }

    /// <summary>Removes the folder, and those around it, if <see cref="Prepare"/> created them and nothing was written.</summary>
    internal void RemoveIfEmpty()
    {
        foreach (string folder in _created.TakeWhile(f => Directory.Exists(f) && !Directory.EnumerateFileSystemEntries(f).Any()))
        {
            Directory.Delete(folder);
        }
    }

    /// <summary>Removes what an earlier run left, so that no file of the folder belongs to another run.</summary>
    internal void Clear()
    {
        string[] events = Directory.GetFiles(Path, EventFileCallback.FilePrefix + "*");
        foreach (string file in (string[])[MetricsFile, ConfigFile, QuantizationFile, EvaluationFile, BaseFile, SamplesFile, ReportFile, .. events])
        {
            File.Delete(file);
        }

        foreach (string folder in new[] { AdapterFolder, BestFolder, CheckpointsFolder }.Where(Directory.Exists))
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    internal static void WriteText(string file, string text) => AtomicFile.Write(file, stream =>
    {
        using StreamWriter writer = new(stream, leaveOpen: true);
        writer.Write(text);
        writer.Write('\n');
    });
}
