using System.Globalization;
using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IO;

namespace OrtQLoRA.Trainer.Checkpoints;

/// <summary>
/// The folder <c>checkpoints</c> of a run: <c>step-00000100</c> and so on. A checkpoint is written into a folder whose name
/// begins with a dot, file after file, each flushed, the manifest last; then the folder gets its name. Whatever happens on
/// the way, the checkpoints that were there stay whole.
/// </summary>
internal sealed class CheckpointStore
{
    private const string Prefix = "step-";
    private const string UnfinishedSuffix = ".tmp";
    private const string RemovedPrefix = ".removed-";
    private const string DamagedPrefix = "damaged-";

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private readonly string _folder;

    internal CheckpointStore(string folder)
    {
        _folder = folder;
    }

    /// <summary>Folders that bear a checkpoint's name, whole or not, the latest first.</summary>
    internal IReadOnlyList<(long Step, string Folder)> All =>
        !Directory.Exists(_folder) ? [] :
        [
            .. Directory.EnumerateDirectories(_folder, Prefix + "*")
                .Select(d => (Step: StepOf(Path.GetFileName(d)), Folder: d))
                .Where(d => d.Step >= 0)
                .OrderByDescending(d => d.Step),
        ];

    internal string PathOf(long step) => Path.Combine(_folder, Prefix + step.ToString("D8", CultureInfo.InvariantCulture));

    /// <summary>Writes a checkpoint.</summary>
    /// <param name="step">Steps done.</param>
    /// <param name="totalSteps">Steps of the run.</param>
    /// <param name="inputs">What the run is made of.</param>
    /// <param name="write">Writes the files into the folder it is given.</param>
    /// <exception cref="FileWriteException">The disk refused; what was there before is untouched.</exception>
    internal void Save(long step, long totalSteps, IReadOnlyList<FileFingerprint> inputs, Action<string> write)
    {
        string target = PathOf(step);
        string unfinished = Path.Combine(_folder, $".{Path.GetFileName(target)}{UnfinishedSuffix}");
        try
        {
            Directory.CreateDirectory(_folder);
            Delete(unfinished);
            Directory.CreateDirectory(unfinished);
            write(unfinished);
            WriteManifest(unfinished, step, totalSteps, inputs);
            foreach (string folder in Directory.EnumerateDirectories(unfinished, "*", SearchOption.AllDirectories).Append(unfinished))
            {
                DurableFolder.Flush(folder);
            }

            Remove(target);
            Directory.Move(unfinished, target);
            DurableFolder.Flush(_folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FileWriteException)
        {
            TryDelete(unfinished);
            throw new FileWriteException($"The checkpoint of step {step} cannot be written. {e.Message}", e);
        }
        catch
        {
            TryDelete(unfinished);
            throw;
        }
    }

    /// <summary>
    /// The latest checkpoint that is whole. Those that are not get the name <c>damaged-...</c>, so that they are neither
    /// taken nor counted again; unfinished ones are removed.
    /// </summary>
    /// <param name="warn">Is told of each that cannot be used, and why.</param>
    internal Checkpoint? Latest(Action<string> warn)
    {
        foreach (string unfinished in LeftOver($".{Prefix}*{UnfinishedSuffix}"))
        {
            warn($"The checkpoint '{unfinished}' was not written to its end and is removed.");
            Delete(unfinished);
        }

        foreach ((long step, string folder) in All)
        {
            (Checkpoint? checkpoint, string? fault) = Checkpoint.Open(folder);
            if (checkpoint is not null)
            {
                return checkpoint;
            }

            string aside = Path.Combine(_folder, DamagedPrefix + Path.GetFileName(folder));
            warn($"The checkpoint of step {step} cannot be used: {fault}. It is set aside as '{aside}', and the one before it is tried.");
            Delete(aside);
            Directory.Move(folder, aside);
        }

        return null;
    }

    /// <summary>Removes all but the last ones and the best.</summary>
    /// <param name="keep">How many of the last to keep, at least 1.</param>
    /// <param name="best">A step to keep besides; 0 for none.</param>
    internal void Rotate(int keep, long best)
    {
        foreach ((long step, string folder) in All.Skip(keep).Where(c => c.Step != best))
        {
            Remove(folder);
        }

        foreach (string left in LeftOver(RemovedPrefix + "*"))
        {
            Delete(left);
        }
    }

    /// <summary>Removes every checkpoint.</summary>
    internal void Clear() => Delete(_folder);

    private static void WriteManifest(string folder, long step, long totalSteps, IReadOnlyList<FileFingerprint> inputs)
    {
        string[] files = [.. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
        CheckpointManifest manifest = new()
        {
            Version = CheckpointManifest.CurrentVersion,
            Step = step,
            TotalSteps = totalSteps,
            Files = [.. files.Select(f => FileFingerprint.Of("checkpoint", f, Path.GetRelativePath(folder, f).Replace('\\', '/')))],
            Inputs = inputs,
        };
        AtomicFile.Write(Path.Combine(folder, Checkpoint.ManifestFile), stream => JsonSerializer.Serialize(stream, manifest, Indented));
    }

    /// <summary>Removes a folder so that no half of it can be taken for a checkpoint.</summary>
    private void Remove(string folder)
    {
        if (Directory.Exists(folder))
        {
            string removed = Path.Combine(_folder, RemovedPrefix + Path.GetFileName(folder));
            Delete(removed);
            Directory.Move(folder, removed);
            Delete(removed);
        }
    }

    private IEnumerable<string> LeftOver(string pattern) => Directory.Exists(_folder) ? Directory.GetDirectories(_folder, pattern) : [];

    private static void Delete(string folder)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void TryDelete(string folder)
    {
        try
        {
            Delete(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It is not taken for a checkpoint, and the error that led here matters more.
        }
    }

    private static long StepOf(string name) =>
        long.TryParse(name.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long step) ? step : -1;
}
