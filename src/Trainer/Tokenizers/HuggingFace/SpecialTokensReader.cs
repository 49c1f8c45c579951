using System.Text.Json;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>
/// Finds out which tokens begin, end and fill up sequences: from tokenizer_config.json and special_tokens_map.json beside the
/// tokenizer, else from the names that model families use.
/// </summary>
internal static class SpecialTokensReader
{
    private static readonly string[] BeginningNames = ["<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>"];
    private static readonly string[] EndNames = ["</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>"];
    private static readonly string[] PaddingNames = ["<pad>", "[PAD]", "<|pad|>"];

    /// <param name="settings">The parsed tokenizer_config.json and special_tokens_map.json, as far as they are there, in that order.</param>
    /// <param name="unknownId">Id of the model's own unknown token.</param>
    /// <param name="idOf">Id of a token, or null.</param>
    public static SpecialTokens Read(IReadOnlyList<JsonElement> settings, int? unknownId, Func<string, int?> idOf)
    {
        return new SpecialTokens(
            unknownId ?? Stated("unk_token"),
            Stated("bos_token") ?? Named(BeginningNames),
            Stated("eos_token") ?? Named(EndNames),
            Stated("pad_token") ?? Named(PaddingNames));

        // A token is a string, or an object that holds it as "content".
        int? Stated(string key) => settings
            .Select(s => s.StringOrNull(key) ?? s.MemberOrNull(key)?.StringOrNull("content"))
            .Where(t => t is not null).Select(t => idOf(t!)).FirstOrDefault(id => id is not null);

        int? Named(string[] names) => names.Select(idOf).FirstOrDefault(id => id is not null);
    }
}
