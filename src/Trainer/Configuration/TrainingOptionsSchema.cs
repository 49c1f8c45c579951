using System.Text.Json;
using System.Text.Json.Nodes;

namespace OrtQLoRA.Trainer.Configuration;

/// <summary>The JSON schema of configuration files, made from <see cref="TrainingOptionCatalog"/>.</summary>
public static class TrainingOptionsSchema
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, NewLine = "\n" };

    /// <summary>Writes the schema (draft 2020-12).</summary>
    public static string ToJson()
    {
        JsonObject properties = new()
        {
            [TrainingOptionsFile.VersionKey] = new JsonObject
            {
                ["description"] = "Version of the form of this file; this program's if left out.",
                ["type"] = "integer",
                ["minimum"] = 1,
                ["maximum"] = TrainingOptionsFile.Version,
            },
        };
        foreach (TrainingOption option in TrainingOptionCatalog.All)
        {
            JsonObject property = new() { ["description"] = option.Description };
            foreach ((string key, JsonNode? value) in TypeOf(option))
            {
                property[key] = value?.DeepClone();
            }

            properties[option.Name] = property;
        }

        return new JsonObject
        {
            ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
            ["title"] = "OrtQLoRA training",
            ["description"] = "What 'ortqlora train --config' reads, as YAML or JSON. Flags of the command line override it.",
            ["type"] = "object",
            ["additionalProperties"] = false,
            ["properties"] = properties,
        }.ToJsonString(Indented) + "\n";
    }

    /// <summary>The type is found by trying what the setting takes, so that it cannot differ from what is read.</summary>
    private static JsonObject TypeOf(TrainingOption option) => option switch
    {
        { Value: null } => Type("boolean"),
        { IsList: true } => Any(Type("string"), new JsonObject { ["type"] = "array", ["items"] = Takes(option, "name") ? Type("string") : Type("integer") }),
        _ when Choices(option) is { Length: > 1 } choices => new JsonObject { ["enum"] = new JsonArray([.. choices.Select(c => JsonValue.Create(c))]) },
        _ when option.Value.Contains('=', StringComparison.Ordinal) => Any(Type("string"), Type("object")),
        _ when Takes(option, "text") => Type("string"),
        _ when Takes(option, "0.5") => Type("number"),
        _ when Takes(option, "1") => Type("integer"),
        _ => Type("string"),
    };

    private static string[] Choices(TrainingOption option)
    {
        string[] choices = option.Value!.Split('|');
        return choices.All(c => !c.Any(char.IsUpper) && Takes(option, c)) ? choices : [];
    }

    private static bool Takes(TrainingOption option, string text) => TrainingOptionsFile.TrySet(new TrainingOptions(), option, text, option.Name) is null;

    private static JsonObject Type(string name) => new() { ["type"] = name };

    private static JsonObject Any(params JsonNode[] types) => new() { ["anyOf"] = new JsonArray(types) };
}
