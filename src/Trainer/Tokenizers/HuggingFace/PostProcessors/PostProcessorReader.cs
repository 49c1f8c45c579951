using System.Text.Json;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.PostProcessors;

/// <summary>Reads the <c>post_processor</c> of a tokenizer.json: which special tokens go around a text.</summary>
internal static class PostProcessorReader
{
    private static readonly Dictionary<string, Func<JsonElement, string, TemplatePostProcessor?>> Kinds = new(StringComparer.Ordinal)
    {
        ["BertProcessing"] = (json, source) => ReadClassic(json, source, doubledSeparator: false),
        // Trims offsets, which nobody here asks for.
        ["ByteLevel"] = (_, _) => null,
        ["RobertaProcessing"] = (json, source) => ReadClassic(json, source, doubledSeparator: true),
        ["Sequence"] = ReadSequence,
        ["TemplateProcessing"] = ReadTemplate,
    };

    /// <summary>The template; a null element adds nothing.</summary>
    public static TemplatePostProcessor Read(JsonElement? json, string source) => ReadOrNull(json, source) ?? TemplatePostProcessor.None;

    private static TemplatePostProcessor? ReadOrNull(JsonElement? json, string source) =>
        json is not { } element ? null : ComponentTable.Find(Kinds, "post-processor", element, source)(element, source);

    private static TemplatePostProcessor? ReadSequence(JsonElement json, string source)
    {
        TemplatePostProcessor[] templates =
        [
            .. json.Required("processors", JsonValueKind.Array, source).EnumerateArray().Select(p => ReadOrNull(p, source)).OfType<TemplatePostProcessor>(),
        ];
        return templates.Length <= 1
            ? templates.FirstOrDefault()
            : throw new ModelFormatException($"'{source}' has {templates.Length} post-processors that add tokens; one can be read. Merge them into one TemplateProcessing.");
    }

    private static TemplatePostProcessor ReadClassic(JsonElement json, string source, bool doubledSeparator)
    {
        return TemplatePostProcessor.Classic(SpecialId("cls"), SpecialId("sep"), doubledSeparator);

        int SpecialId(string name) => json.MemberOrNull(name) is { ValueKind: JsonValueKind.Array } pair && pair.GetArrayLength() == 2 && pair[1].TryGetInt32(out int id)
            ? id
            : throw new ModelFormatException($"'{source}': the post-processor's '{name}' should be [token, id].");
    }

    private static TemplatePostProcessor ReadTemplate(JsonElement json, string source)
    {
        JsonElement special = json.Required("special_tokens", JsonValueKind.Object, source);
        return new TemplatePostProcessor(ReadParts("single"), ReadParts("pair"));

        TemplatePart[] ReadParts(string name) => [.. json.Required(name, JsonValueKind.Array, source).EnumerateArray().Select(ReadPart)];

        TemplatePart ReadPart(JsonElement part)
        {
            if (part.MemberOrNull("Sequence") is { } text)
            {
                return new TemplatePart([], text.StringOr("id", "A") == "A" ? 0 : 1, text.IntOr("type_id", 0));
            }

            JsonElement token = part.Required("SpecialToken", JsonValueKind.Object, source);
            string id = token.StringOr("id", "");
            return special.MemberOrNull(id)?.MemberOrNull("ids") is { ValueKind: JsonValueKind.Array } ids
                ? new TemplatePart([.. ids.EnumerateArray().Select(i => i.GetInt32())], null, token.IntOr("type_id", 0))
                : throw new ModelFormatException($"'{source}': the template uses the special token '{id}', which its special_tokens do not list.");
        }
    }
}
