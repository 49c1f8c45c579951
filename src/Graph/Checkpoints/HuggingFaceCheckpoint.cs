using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;

namespace OrtQLoRA.Graph.Checkpoints;

/// <summary>Weights under PyTorch's names in one safetensors file, or in several that <c>model.safetensors.index.json</c> lists.</summary>
public sealed class HuggingFaceCheckpoint : IDisposable
{
    private const string SingleFile = "model.safetensors";
    private const string IndexFile = "model.safetensors.index.json";
    private const string IndexExtension = ".index.json";

    private readonly IReadOnlyList<SafetensorsFile> _files;

    private HuggingFaceCheckpoint(string source, IReadOnlyList<SafetensorsFile> files)
    {
        Source = source;
        _files = files;
        Dictionary<string, ITensor> tensors = new(StringComparer.Ordinal);
        foreach ((string name, ITensor tensor) in files.SelectMany(f => f.Tensors))
        {
            if (!tensors.TryAdd(name, tensor))
            {
                throw new ModelFormatException($"{source}: two of its files hold the tensor '{name}'. Only one can be meant.");
            }
        }

        Tensors = tensors;
    }

    /// <summary>The checkpoint, for messages.</summary>
    public string Source { get; }

    /// <summary>Tensors by name. They can be read until the checkpoint is disposed.</summary>
    public IReadOnlyDictionary<string, ITensor> Tensors { get; }

    /// <summary>Opens a checkpoint.</summary>
    /// <param name="path">A safetensors file, an index, or a folder with one of them.</param>
    /// <exception cref="ModelFormatException">A file is absent, malformed or hostile.</exception>
    public static HuggingFaceCheckpoint Open(string path)
    {
        string file = !Directory.Exists(path) ? path
            : File.Exists(Path.Combine(path, IndexFile)) ? Path.Combine(path, IndexFile)
            : Path.Combine(path, SingleFile);
        if (!File.Exists(file))
        {
            throw new ModelFormatException($"There is no checkpoint at '{path}': neither a safetensors file nor a folder with {SingleFile} or {IndexFile}.");
        }

        List<SafetensorsFile> files = [];
        try
        {
            foreach (string part in file.EndsWith(IndexExtension, StringComparison.Ordinal) ? Parts(file) : [file])
            {
                files.Add(SafetensorsFile.Open(part));
            }

            return new HuggingFaceCheckpoint($"'{file}'", files);
        }
        catch
        {
            files.ForEach(f => f.Dispose());
            throw;
        }
    }

    /// <summary>Unmaps the files.</summary>
    public void Dispose()
    {
        foreach (SafetensorsFile file in _files)
        {
            file.Dispose();
        }
    }

    // Names come from an untrusted file: they must be plain file names beside the index.
    private static string[] Parts(string index)
    {
        try
        {
            using JsonDocument json = JsonDocument.Parse(File.ReadAllText(index));
            string[] names = [.. json.RootElement.GetProperty("weight_map").EnumerateObject().Select(p => p.Value.GetString()!).Distinct()];
            string? strange = Array.Find(names, n => n is null or "" or "." or ".." || n.AsSpan().ContainsAny('/', '\\', '\0'));
            return strange is null && names.Length > 0
                ? [.. names.Select(n => Path.Combine(Path.GetDirectoryName(Path.GetFullPath(index))!, n))]
                : throw new ModelFormatException($"'{index}' {(names.Length == 0 ? "lists no files" : $"names the file '{strange}'")}; plain names of files beside it are expected.");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException or IOException)
        {
            throw new ModelFormatException($"'{index}' is no index of safetensors files: {e.Message}", e);
        }
    }
}
