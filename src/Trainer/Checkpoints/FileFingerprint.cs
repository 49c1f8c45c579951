using System.IO.Hashing;
using System.Text.Json.Serialization;

namespace OrtQLoRA.Trainer.Checkpoints;

/// <summary>What a file held: enough to tell whether it changed.</summary>
/// <param name="Role">What the file is to the run (<c>model</c>, <c>data</c>), or its name inside a checkpoint.</param>
/// <param name="Path">The file; relative to the checkpoint for files inside one.</param>
/// <param name="Bytes">Length.</param>
/// <param name="Hash">XXH128 of the content, hexadecimal.</param>
internal sealed record FileFingerprint(
    [property: JsonPropertyName("role")] string Role,
    [property: JsonPropertyName("path")] string Path,
    [property: JsonPropertyName("bytes")] long Bytes,
    [property: JsonPropertyName("xxh128")] string Hash)
{
    /// <summary>Reads a file and computes its fingerprint.</summary>
    internal static FileFingerprint Of(string role, string path, string? shownAs = null)
    {
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1 << 20, FileOptions.SequentialScan);
        XxHash128 hash = new();
        hash.Append(stream);
        return new FileFingerprint(role, shownAs ?? path, stream.Length, Convert.ToHexStringLower(hash.GetCurrentHash()));
    }

    /// <summary>Whether two files held the same bytes, whatever their paths.</summary>
    internal bool HasSameContent(FileFingerprint other) => Bytes == other.Bytes && Hash == other.Hash;
}
