using System.Buffers.Binary;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.Llama2c;

/// <summary>
/// Reads and writes vocabularies as llama2.c keeps them: the length of the longest token (int32), then for each id its score
/// (float32), its length in bytes (int32) and its bytes, all little-endian.
/// </summary>
public static class Llama2cVocabularyFile
{
    private const int EntryHeader = 8;

    /// <summary>Reads a vocabulary.</summary>
    /// <param name="content">The whole file.</param>
    /// <param name="source">Name of the file for messages.</param>
    /// <exception cref="ModelFormatException">The content is no such vocabulary.</exception>
    public static IReadOnlyList<VocabularyEntry> Read(ReadOnlyMemory<byte> content, string source)
    {
        if (!TryRead(content, out List<VocabularyEntry> entries, out string fault))
        {
            throw new ModelFormatException(
                $"'{source}' is no llama2.c vocabulary: {fault}. The format is an int32 (longest token), then per token a float32 score, an int32 length and the bytes; write the file anew from its tokenizer.");
        }

        return entries;
    }

    /// <summary>Whether the content has the form of such a vocabulary from its first byte to its last.</summary>
    public static bool IsVocabulary(ReadOnlyMemory<byte> content) => TryRead(content, out _, out _);

    /// <summary>Writes a vocabulary.</summary>
    public static void Write(Stream destination, IReadOnlyCollection<VocabularyEntry> entries)
    {
        Span<byte> header = stackalloc byte[EntryHeader];
        BinaryPrimitives.WriteInt32LittleEndian(header, entries.Count == 0 ? 0 : entries.Max(e => e.Bytes.Length));
        destination.Write(header[..4]);
        foreach (VocabularyEntry entry in entries)
        {
            BinaryPrimitives.WriteSingleLittleEndian(header, entry.Score);
            BinaryPrimitives.WriteInt32LittleEndian(header[4..], entry.Bytes.Length);
            destination.Write(header);
            destination.Write(entry.Bytes.Span);
        }
    }

    private static bool TryRead(ReadOnlyMemory<byte> content, out List<VocabularyEntry> entries, out string fault)
    {
        entries = [];
        ReadOnlySpan<byte> bytes = content.Span;
        int longest = bytes.Length >= 4 ? BinaryPrimitives.ReadInt32LittleEndian(bytes) : -1;
        if (longest < 1)
        {
            fault = bytes.Length < 4 ? $"it has only {bytes.Length} bytes" : $"the length of the longest token is given as {longest}";
            return false;
        }

        int position = 4;
        while (position < bytes.Length)
        {
            if (bytes.Length - position < EntryHeader)
            {
                fault = $"it ends inside the header of token {entries.Count}, at byte {bytes.Length}";
                return false;
            }

            float score = BinaryPrimitives.ReadSingleLittleEndian(bytes[position..]);
            int length = BinaryPrimitives.ReadInt32LittleEndian(bytes[(position + 4)..]);
            position += EntryHeader;
            if (length < 0 || length > longest || length > bytes.Length - position)
            {
                fault = $"token {entries.Count} (byte {position}) has length {length}; the longest is given as {longest}, and {bytes.Length - position} bytes are left";
                return false;
            }

            if (!float.IsFinite(score))
            {
                fault = $"token {entries.Count} (byte {position}) has the score {score}";
                return false;
            }

            entries.Add(new VocabularyEntry(content.Slice(position, length), score));
            position += length;
        }

        fault = entries.Count >= Llama2cTokenizer.FirstTextId
            ? ""
            : $"it has {entries.Count} tokens, fewer than the {Llama2cTokenizer.FirstTextId} of <unk>, <s>, </s> and the 256 bytes";
        return fault.Length == 0;
    }
}
