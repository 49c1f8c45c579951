using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Checkpoints;

/// <summary>A whole checkpoint on disk, its files checked against its manifest.</summary>
internal sealed class Checkpoint
{
    internal const string ManifestFile = "manifest.json";
    internal const string StateFile = "state.safetensors";
    internal const string AverageFile = "ema.safetensors";
    internal const string LoopFile = "trainer.json";
    internal const string ConfigFile = "config.resolved.json";
    internal const string AdapterFolder = "adapter";

    private Checkpoint(string folder, CheckpointManifest manifest)
    {
        Folder = folder;
        Manifest = manifest;
    }

    internal string Folder { get; }

    internal CheckpointManifest Manifest { get; }

    /// <summary>Whether parameters were averaged.</summary>
    internal bool HasAverage => File.Exists(PathOf(AverageFile));

    /// <summary>Opens a checkpoint and reads all of it once.</summary>
    /// <returns>The checkpoint, or what is wrong with it.</returns>
    internal static (Checkpoint? Checkpoint, string? Fault) Open(string folder)
    {
        string path = Path.Combine(folder, ManifestFile);
        try
        {
            if (!File.Exists(path))
            {
                return (null, $"it has no {ManifestFile}, so it was not written to its end");
            }

            CheckpointManifest? manifest = JsonSerializer.Deserialize<CheckpointManifest>(File.ReadAllBytes(path));
            if (manifest is null)
            {
                return (null, $"its {ManifestFile} is empty");
            }

            if (manifest.Version > CheckpointManifest.CurrentVersion)
            {
                return (null, $"it has version {manifest.Version}; this program reads up to {CheckpointManifest.CurrentVersion}");
            }

            string? fault = manifest.Files.Select(f => FaultOf(folder, f)).FirstOrDefault(f => f is not null);
            return fault is null ? (new Checkpoint(folder, manifest), null) : (null, fault);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return (null, e.Message.TrimEnd('.'));
        }
    }

    /// <summary>Parameters, moments, counts.</summary>
    internal EngineState ReadState() => EngineStateFile.Read(PathOf(StateFile));

    /// <summary>The averaged parameters.</summary>
    internal EngineState ReadAverage() => EngineStateFile.Read(PathOf(AverageFile));

    internal LoopState ReadLoop() => Read<LoopState>(LoopFile);

    /// <summary>The options that the run had.</summary>
    internal JsonObject ReadConfig() => Read<JsonObject>(ConfigFile);

    private T Read<T>(string name)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(File.ReadAllBytes(PathOf(name))) ?? throw new ModelFormatException($"'{PathOf(name)}' is empty.");
        }
        catch (JsonException e)
        {
            throw new ModelFormatException($"'{PathOf(name)}' is no state of a run: {e.Message}", e);
        }
    }

    private string PathOf(string name) => Path.Combine(Folder, name);

    private static string? FaultOf(string folder, FileFingerprint expected)
    {
        string path = Path.Combine(folder, expected.Path);
        if (!File.Exists(path))
        {
            return $"{expected.Path} is missing";
        }

        FileFingerprint actual = FileFingerprint.Of(expected.Role, path, expected.Path);
        return actual.Bytes != expected.Bytes ? $"{expected.Path} has {actual.Bytes} bytes, {expected.Bytes} were written"
            : actual.Hash != expected.Hash ? $"{expected.Path} was changed since it was written"
            : null;
    }
}
