using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Decoders;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Normalizers;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PostProcessors;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>Reads Hugging Face's tokenizer.json.</summary>
internal static class TokenizerJsonReader
{
    /// <param name="content">The whole file, UTF-8.</param>
    /// <param name="settings">Parsed settings files beside it: see <see cref="SpecialTokensReader"/>.</param>
    /// <param name="source">Name of the file for messages.</param>
    /// <exception cref="ModelFormatException">The file is no tokenizer.json, or asks for a component that is not known here.</exception>
    public static PipelineTokenizer Read(ReadOnlyMemory<byte> content, IReadOnlyList<JsonElement> settings, string source)
    {
        using JsonDocument document = Parse(content, source);
        try
        {
            return Read(document.RootElement, settings, source);
        }
        // Strings that are no UTF-8 or no UTF-16 and numbers beyond their range are found only when they are read.
        catch (Exception e) when (e is InvalidOperationException or FormatException)
        {
            throw new ModelFormatException($"'{source}' is damaged: {e.Message} Fetch the file again.", e);
        }
    }

    /// <exception cref="ModelFormatException">The content is no JSON.</exception>
    public static JsonDocument Parse(ReadOnlyMemory<byte> content, string source)
    {
        try
        {
            return JsonDocument.Parse(content);
        }
        catch (JsonException e)
        {
            throw new ModelFormatException($"'{source}' is no valid JSON: {e.Message} Fetch the file again or mend it there.", e);
        }
    }

    private static PipelineTokenizer Read(JsonElement root, IReadOnlyList<JsonElement> settings, string source)
    {
        ITokenModel model = TokenModelReader.Read(root.Required("model", JsonValueKind.Object, source), source);
        AddedToken[] added = ReadAddedTokens(root, source);
        Dictionary<string, int> addedIds = added.DistinctBy(t => t.Content).ToDictionary(t => t.Content, t => t.Id, StringComparer.Ordinal);
        return new PipelineTokenizer(model, added)
        {
            Normalizer = NormalizerReader.Read(root.MemberOrNull("normalizer"), source),
            PreTokenizer = PreTokenizerReader.Read(root.MemberOrNull("pre_tokenizer"), source),
            PostProcessor = PostProcessorReader.Read(root.MemberOrNull("post_processor"), source),
            Decoder = DecoderReader.Read(root.MemberOrNull("decoder"), source),
            SpecialTokens = SpecialTokensReader.Read(
                settings, model.UnknownId, token => addedIds.TryGetValue(token, out int id) ? id : model.IdOf(token)),
        };
    }

    private static AddedToken[] ReadAddedTokens(JsonElement root, string source)
    {
        if (root.MemberOrNull("added_tokens") is not { } list)
        {
            return [];
        }

        if (list.ValueKind != JsonValueKind.Array)
        {
            throw new ModelFormatException($"'{source}': 'added_tokens' should be a JSON array.");
        }

        return [.. list.EnumerateArray().Select(token => AddedTokenReader.Read(token, token.IntOr("id", -1), source))];
    }
}
