using System.Text.Json.Nodes;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary><c>trainable_token_indices</c>: a list of token ids, or an object of such lists by the name of the embedding.</summary>
internal static class TrainableTokensJson
{
    private const string Key = "trainable_token_indices";

    // A bare list means the input embedding, which PEFT calls embed_tokens until it has seen the model.
    private const string DefaultEmbedding = "embed_tokens";

    private static readonly IReadOnlyDictionary<string, IReadOnlyList<int>> Empty = new Dictionary<string, IReadOnlyList<int>>();

    public static IReadOnlyDictionary<string, IReadOnlyList<int>> Read(ConfigReader reader)
    {
        switch (reader.Node(Key))
        {
            case null:
                return Empty;
            case JsonArray:
                return reader.Integers(Key) is { Count: > 0 } indices ? new Dictionary<string, IReadOnlyList<int>>(StringComparer.Ordinal) { [DefaultEmbedding] = indices } : Empty;
            case JsonObject table:
                Dictionary<string, IReadOnlyList<int>> tokens = new(StringComparer.Ordinal);
                ConfigReader entries = new(table, Key);
                foreach ((string name, JsonNode? _) in table)
                {
                    tokens[name] = entries.Integers(name) ?? [];
                }

                reader.TakeFaults(entries);
                return tokens;
            case var other:
                reader.Fault($"{Key} is {other.ToJsonString()}; a list of token ids, or an object of lists by embedding, is expected.");
                return Empty;
        }
    }

    /// <summary>Writes the rows; what the file had stays in its own form unless they have changed since.</summary>
    public static void Write(IDictionary<string, JsonNode?> keys, IReadOnlyDictionary<string, IReadOnlyList<int>> tokens)
    {
        JsonNode? written = ToJson(tokens);
        if (!keys.TryGetValue(Key, out JsonNode? known) || !JsonNode.DeepEquals(known, written))
        {
            keys[Key] = written;
        }
    }

    private static JsonNode? ToJson(IReadOnlyDictionary<string, IReadOnlyList<int>> tokens) => tokens.Count switch
    {
        0 => null,
        1 when tokens.TryGetValue(DefaultEmbedding, out IReadOnlyList<int>? indices) => Array(indices),
        _ => new JsonObject(tokens.Select(t => KeyValuePair.Create(t.Key, (JsonNode?)Array(t.Value)))),
    };

    private static JsonArray Array(IReadOnlyList<int> numbers) => new([.. numbers.Select(n => (JsonNode)n)]);
}
