using System.Text.Json.Serialization;

namespace OrtQLoRA.Trainer.Checkpoints;

/// <summary>
/// <c>manifest.json</c>, written last: what a whole checkpoint consists of. A checkpoint without it, or whose files differ
/// from it, is not used.
/// </summary>
internal sealed record CheckpointManifest
{
    /// <summary>Version of the form; a program reads its own and older ones.</summary>
    internal const int CurrentVersion = 1;

    /// <summary>Version of the form in which the checkpoint was written.</summary>
    [JsonPropertyName("version")]
    public required int Version { get; init; }

    /// <summary>Step after which the checkpoint was taken.</summary>
    [JsonPropertyName("step")]
    public required long Step { get; init; }

    /// <summary>Steps that the run was to have.</summary>
    [JsonPropertyName("total_steps")]
    public required long TotalSteps { get; init; }

    /// <summary>Every file of the checkpoint but this one.</summary>
    [JsonPropertyName("files")]
    public required IReadOnlyList<FileFingerprint> Files { get; init; }

    /// <summary>Files that the run was made of: model, data, tokenizer, initial adapter.</summary>
    [JsonPropertyName("inputs")]
    public required IReadOnlyList<FileFingerprint> Inputs { get; init; }
}
