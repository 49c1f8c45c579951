using System.Text.Json;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>
/// Finds the added tokens of vocabularies that do not list them themselves, in the files beside them: <c>added_tokens_decoder</c> of
/// tokenizer_config.json, and added_tokens.json.
/// </summary>
internal static class AddedTokenReader
{
    /// <summary>Reads an added token.</summary>
    /// <param name="json">An object with <c>content</c> and the flags.</param>
    /// <param name="id">Its id.</param>
    /// <param name="source">Name of the file for messages.</param>
    /// <exception cref="ModelFormatException">Id or content are missing.</exception>
    public static AddedToken Read(JsonElement json, int id, string source)
    {
        if (id is < 0 or int.MaxValue || json.StringOrNull("content") is not { } content)
        {
            throw new ModelFormatException($"'{source}': the added token {json.GetRawText()} needs an 'id' from 0 on and a 'content'.");
        }

        bool special = json.BoolOr("special", false);
        return new AddedToken(
            id, content, special, json.BoolOr("normalized", !special), json.BoolOr("single_word", false), json.BoolOr("lstrip", false), json.BoolOr("rstrip", false));
    }

    /// <summary>Reads what settings list.</summary>
    /// <param name="settings">Parsed tokenizer_config.json, special_tokens_map.json and added_tokens.json, as far as they are there.</param>
    /// <param name="source">Name of the tokenizer's file for messages.</param>
    public static IReadOnlyList<AddedToken> ReadListed(IReadOnlyList<JsonElement> settings, string source)
    {
        Dictionary<int, AddedToken> tokens = [];
        foreach (JsonElement list in settings.Select(s => s.MemberOrNull("added_tokens_decoder")).OfType<JsonElement>().Where(l => l.ValueKind == JsonValueKind.Object))
        {
            foreach (JsonProperty entry in list.EnumerateObject())
            {
                AddedToken token = Read(entry.Value, int.TryParse(entry.Name, out int id) ? id : -1, source);
                tokens[token.Id] = token;
            }
        }

        // added_tokens.json maps contents to ids; settings name no token so.
        foreach (JsonElement map in settings.Where(s => s.ValueKind == JsonValueKind.Object && s.EnumerateObject().Any() && s.EnumerateObject().All(e => e.Value.ValueKind == JsonValueKind.Number)))
        {
            foreach (JsonProperty entry in map.EnumerateObject())
            {
                if (entry.Value.TryGetInt32(out int id) && id is >= 0 and < int.MaxValue)
                {
                    tokens.TryAdd(id, new AddedToken(id, entry.Name, true, false, false, false, false));
                }
            }
        }

        return [.. tokens.Values.OrderBy(t => t.Id)];
    }
}
