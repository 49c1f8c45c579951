using System.Buffers.Text;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.ML.Tokenizers;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Decoders;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PostProcessors;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

namespace OrtQLoRA.Trainer.Tokenizers.Tiktoken;

/// <summary>
/// Reads tiktoken's files: a token a line, its bytes in base64 and its rank, as OpenAI, Llama 3 (under the name tokenizer.model) and
/// Qwen (qwen.tiktoken) publish them.
/// </summary>
internal static class TiktokenReader
{
    /// <summary>Whether the first line looks like such a file's.</summary>
    public static bool IsVocabulary(ReadOnlySpan<byte> content)
    {
        int end = content.IndexOf((byte)'\n');
        return end > 0 && TryParse(content[..end].TrimEnd((byte)'\r'), out _, out _);
    }

    /// <param name="content">The whole file.</param>
    /// <param name="settings">Parsed settings files beside it; <c>pat_str</c> in one of them is the pattern of words.</param>
    /// <param name="source">Name of the file for messages.</param>
    /// <exception cref="ModelFormatException">A line is damaged, or it is not known how text is split.</exception>
    public static PipelineTokenizer Read(ReadOnlyMemory<byte> content, IReadOnlyList<JsonElement> settings, string source)
    {
        Dictionary<int, byte[]> tokens = ReadTokens(content.Span, source);
        TiktokenFamily? family = TiktokenFamily.Known.FirstOrDefault(f => f.Ranks == tokens.Count);
        TextPattern words = settings.Select(s => s.StringOrNull("pat_str")).FirstOrDefault(p => p is not null) is { } pattern ? TextPattern.Of(pattern, source)
            : family is not null ? new TextPattern(family.Words)
            : throw new ModelFormatException(
                $"'{source}' holds {tokens.Count} tokens and does not say how text is split into words; known are {string.Join(", ", TiktokenFamily.Known.Select(f => $"{f.Name} ({f.Ranks})"))}. Put the pattern as \"pat_str\" into a tokenizer_config.json beside it, or give a tokenizer.json.");
        IReadOnlyList<AddedToken> listed = AddedTokenReader.ReadListed(settings, source);
        AddedToken[] added = [.. listed.Count > 0 ? listed : (family?.SpecialTokens ?? new Dictionary<string, int>()).Select(t => new AddedToken(t.Value, t.Key, true, false, false, false, false))];
        Dictionary<string, int> ids = added.DistinctBy(t => t.Content).ToDictionary(t => t.Content, t => t.Id, StringComparer.Ordinal);
        SpecialTokens special = SpecialTokensReader.Read(settings, null, t => ids.TryGetValue(t, out int id) ? id : null);
        using MemoryStream stream = new(content.ToArray());
        return new PipelineTokenizer(new TiktokenModel(TiktokenTokenizer.Create(stream, null, null), tokens), added)
        {
            PreTokenizer = (text, _) => Splitter.Split(text, words, SplitBehavior.Isolated, inverted: false),
            PostProcessor = TemplatePostProcessor.Around(family?.SpecialTokens.ContainsKey("<|begin_of_text|>") == true ? special.BeginningOfSequence : null, null),
            Decoder = DecoderReader.ByteLevel,
            SpecialTokens = special,
        };
    }

    private static Dictionary<int, byte[]> ReadTokens(ReadOnlySpan<byte> content, string source)
    {
        Dictionary<int, byte[]> tokens = [];
        HashSet<string> seen = [];
        int number = 0;
        foreach (Range range in content.Split((byte)'\n'))
        {
            number++;
            ReadOnlySpan<byte> line = content[range].TrimEnd((byte)'\r');
            if (line.IsEmpty)
            {
                continue;
            }

            if (!TryParse(line, out byte[] bytes, out int rank) || !tokens.TryAdd(rank, bytes) || !seen.Add(Convert.ToHexString(bytes)))
            {
                throw new ModelFormatException(
                    $"'{source}', line {number}: '{Encoding.UTF8.GetString(line[..Math.Min(line.Length, 60)])}' is no new token; a line is a token's bytes in base64 and its rank. Fetch the file again.");
            }
        }

        for (int b = 0; b < 256; b++)
        {
            if (!seen.Contains(b.ToString("X2", CultureInfo.InvariantCulture)))
            {
                throw new ModelFormatException($"'{source}' has no token for the byte {b}, so that not every text can be spelled. Fetch the file again.");
            }
        }

        return tokens;
    }

    private static bool TryParse(ReadOnlySpan<byte> line, out byte[] bytes, out int rank)
    {
        int space = line.IndexOf((byte)' ');
        bytes = space > 0 ? new byte[space] : [];
        rank = 0;
        if (space <= 0 || Base64.DecodeFromUtf8(line[..space], bytes, out _, out int length) != System.Buffers.OperationStatus.Done || length == 0
            || !int.TryParse(line[(space + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out rank) || rank == int.MaxValue)
        {
            return false;
        }

        bytes = bytes[..length];
        return true;
    }
}
