using System.Text.Json.Nodes;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Checkpoints;

/// <summary>Tells whether a run may go on from a checkpoint: same model, same data, same course.</summary>
internal static class ResumeCheck
{
    /// <summary>Settings that a run may go on with in another form; the change is told. They act on later steps only.</summary>
    private static readonly HashSet<string> Adjustable =
    [
        "max-steps", "epochs", "lr", "lr-schedule", "warmup-steps", "warmup-ratio", "lr-cycles", "lr-power", "min-lr", "decay-steps", "decay-type",
        "max-grad-norm", "early-stopping", "early-stopping-threshold", "on-divergence", "spike-factor", "eval-every", "threads", "chunk-tokens",
        "compute", "ops", "device", "device-memory", "tf32", "gradient-checkpointing",
    ];

    /// <summary>Settings that decide what is shown and kept, not what is learnt, or files that are compared by content.</summary>
    private static readonly HashSet<string> Free =
    [
        "model", "data", "tokenizer", "init-adapter", "base-weights", "out", "eval-data", "resume", "force", "save-every", "keep-checkpoints", "no-prepack", "profile",
        "load-best", "samples", "no-report", "no-tensorboard", "version",
    ];

    /// <summary>Names of all settings treated apart from the rest.</summary>
    internal static IEnumerable<string> Names => Adjustable.Concat(Free);

    /// <summary>What changed since the checkpoint.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    /// <param name="config">The present options as JSON.</param>
    /// <param name="inputs">The present files.</param>
    /// <returns>Changes that make another run of it, and changes that it can go on with.</returns>
    internal static (IReadOnlyList<string> Refused, IReadOnlyList<string> Told) Compare(
        Checkpoint checkpoint, JsonObject config, IReadOnlyList<FileFingerprint> inputs)
    {
        List<string> refused = [.. CompareFiles(checkpoint.Manifest.Inputs, inputs)];
        List<string> told = [];
        JsonObject before = checkpoint.ReadConfig();
        foreach (string name in before.Select(p => p.Key).Union(config.Select(p => p.Key)).Except(Free))
        {
            string? old = before[name]?.ToJsonString();
            string? now = config[name]?.ToJsonString();
            if (old != now)
            {
                (Adjustable.Contains(name) ? told : refused).Add($"--{name} was {old ?? "not set"} and is {now ?? "not set"}");
            }
        }

        return (refused, told);
    }

    /// <summary>Throws if the run would become another one.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    /// <param name="options">The present options.</param>
    /// <param name="config">The same as JSON.</param>
    /// <param name="inputs">The present files.</param>
    /// <param name="warn">Is told of changes that the run goes on with.</param>
    /// <exception cref="CheckpointException">Model, data or settings changed, and options do not say to go on all the same.</exception>
    internal static void Verify(
        Checkpoint checkpoint, TrainingOptions options, JsonObject config, IReadOnlyList<FileFingerprint> inputs, Action<string> warn)
    {
        (IReadOnlyList<string> refused, IReadOnlyList<string> told) = Compare(checkpoint, config, inputs);
        if (refused.Count > 0 && !options.Force)
        {
            throw new CheckpointException(
                $"Since the checkpoint '{checkpoint.Folder}' was written, this changed:\n"
                + string.Concat(refused.Select(r => $"  {r}\n"))
                + "The run would no longer be the one that was begun. Put it back as it was, go on all the same with --force, or choose another --out.");
        }

        foreach (string change in refused.Concat(told))
        {
            warn($"Going on with a change: {change}.");
        }
    }

    private static IEnumerable<string> CompareFiles(IReadOnlyList<FileFingerprint> before, IReadOnlyList<FileFingerprint> now)
    {
        foreach (string role in before.Concat(now).Select(f => f.Role).Distinct())
        {
            FileFingerprint[] old = [.. before.Where(f => f.Role == role)];
            FileFingerprint[] present = [.. now.Where(f => f.Role == role)];
            foreach ((FileFingerprint was, FileFingerprint isNow) in old.Zip(present).Where(p => !p.First.HasSameContent(p.Second)))
            {
                yield return $"{role}: '{isNow.Path}' has {isNow.Bytes} bytes with hash {isNow.Hash[..12]}; it was '{was.Path}', {was.Bytes} bytes with hash {was.Hash[..12]}";
            }

            if (old.Length != present.Length)
            {
                yield return $"{role}: {present.Length} files, it was {old.Length}";
            }
        }
    }
}
