using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Chat.Jinja;

namespace OrtQLoRA.Trainer.Chat;

/// <summary>Turns a conversation into the text that a model was trained on: the chat template that lies beside its tokenizer.</summary>
public sealed class ChatTemplate
{
    private readonly JinjaTemplate _template;
    private readonly Dictionary<string, object?> _tokens;

    private ChatTemplate(JinjaTemplate template, Dictionary<string, object?> tokens)
    {
        _template = template;
        _tokens = tokens;
    }

    /// <summary>Makes a template of its source.</summary>
    /// <param name="source">Jinja source.</param>
    /// <param name="specialTokens">Texts of special tokens by name, for example <c>bos_token</c>.</param>
    /// <exception cref="JinjaException">The source cannot be read.</exception>
    public static ChatTemplate Parse(string source, IReadOnlyDictionary<string, string>? specialTokens = null) => new(
        JinjaTemplate.Parse(source),
        (specialTokens ?? new Dictionary<string, string>()).ToDictionary(t => t.Key, t => (object?)t.Value));

    /// <summary>Finds the template of a tokenizer.</summary>
    /// <param name="tokenizer">Tokenizer file or folder; <c>chat_template.jinja</c> or <c>tokenizer_config.json</c> beside it is read.</param>
    /// <param name="chosen">A file with a template, or the name of one among several; null for the default one.</param>
    /// <returns>Null if there is none and none was asked for.</returns>
    /// <exception cref="ConfigurationException">The chosen one is not there.</exception>
    public static ChatTemplate? Find(string? tokenizer, string? chosen = null)
    {
        string? folder = tokenizer is null ? null : Directory.Exists(tokenizer) ? tokenizer : Path.GetDirectoryName(Path.GetFullPath(tokenizer));
        using JsonDocument? settings = Settings(folder);
        Dictionary<string, string> named = settings is null ? [] : Named(settings.RootElement);
        if (folder is not null && Path.Combine(folder, "chat_template.jinja") is string file && File.Exists(file))
        {
            named["default"] = File.ReadAllText(file);
        }

        string? source = chosen is not null && File.Exists(chosen) ? File.ReadAllText(chosen) : named.GetValueOrDefault(chosen ?? "default");
        return source is not null ? Parse(source, settings is null ? null : SpecialTokens(settings.RootElement))
            : chosen is null ? null
            : throw new ConfigurationException(
                $"--chat-template is '{chosen}', which is no file{(named.Count > 0 ? $" and none of the tokenizer's templates: {string.Join(", ", named.Keys)}" : "; the tokenizer has no template of that name")}.");
    }

    /// <summary>Renders a conversation.</summary>
    /// <param name="messages">List of objects with <c>role</c> and <c>content</c>.</param>
    /// <param name="tools">Descriptions of tools, as the template wants them; null for none.</param>
    /// <param name="addGenerationPrompt">Whether to end with what begins the assistant's turn.</param>
    /// <returns>The text, and its parts between <c>{% generation %}</c> tags, from and to which character.</returns>
    /// <exception cref="JinjaException">The template refuses the conversation.</exception>
    public (string Text, IReadOnlyList<(int Start, int End)> Generated) Render(IReadOnlyList<JsonElement> messages, JsonElement? tools = null, bool addGenerationPrompt = false) =>
        _template.Render(new Dictionary<string, object?>(_tokens)
        {
            ["messages"] = messages.Select(JinjaValues.OfJson).ToList(),
            ["tools"] = tools is JsonElement given ? JinjaValues.OfJson(given) : null,
            ["documents"] = null,
            ["add_generation_prompt"] = addGenerationPrompt,
        });

    private static JsonDocument? Settings(string? folder)
    {
        string file = Path.Combine(folder ?? "", "tokenizer_config.json");
        if (folder is null || !File.Exists(file))
        {
            return null;
        }

        try
        {
            return JsonDocument.Parse(File.ReadAllBytes(file));
        }
        catch (JsonException e)
        {
            throw new ModelFormatException($"'{file}' is no JSON: {e.Message}", e);
        }
    }

    private static Dictionary<string, string> Named(JsonElement settings)
    {
        if (settings.ValueKind != JsonValueKind.Object || !settings.TryGetProperty("chat_template", out JsonElement template))
        {
            return [];
        }

        return template.ValueKind switch
        {
            JsonValueKind.String => new Dictionary<string, string> { ["default"] = template.GetString()! },
            JsonValueKind.Array => template.EnumerateArray()
                .Where(t => t.ValueKind == JsonValueKind.Object && t.TryGetProperty("name", out JsonElement n) && n.ValueKind == JsonValueKind.String
                    && t.TryGetProperty("template", out JsonElement s) && s.ValueKind == JsonValueKind.String)
                .DistinctBy(t => t.GetProperty("name").GetString())
                .ToDictionary(t => t.GetProperty("name").GetString()!, t => t.GetProperty("template").GetString()!),
            _ => [],
        };
    }

    private static Dictionary<string, string> SpecialTokens(JsonElement settings)
    {
        Dictionary<string, string> tokens = [];
        foreach (JsonProperty setting in settings.EnumerateObject().Where(s => s.Name.EndsWith("_token", StringComparison.Ordinal)))
        {
            JsonElement value = setting.Value.ValueKind == JsonValueKind.Object && setting.Value.TryGetProperty("content", out JsonElement content) ? content : setting.Value;
            if (value.ValueKind == JsonValueKind.String)
            {
                tokens[setting.Name] = value.GetString()!;
            }
        }

        return tokens;
    }
}
