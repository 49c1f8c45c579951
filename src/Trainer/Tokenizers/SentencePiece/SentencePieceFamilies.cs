using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace;

namespace OrtQLoRA.Trainer.Tokenizers.SentencePiece;

/// <summary>What families of models make of a SentencePiece model, by <c>tokenizer_class</c> in tokenizer_config.json.</summary>
internal static class SentencePieceFamilies
{
    /// <summary>Families that end texts and do not begin them.</summary>
    private static readonly HashSet<string> Ended = ["T5", "Pegasus", "MT5"];

    /// <summary>Families whose ids are not those of the file (fairseq's order), or which frame texts in their own way.</summary>
    private static readonly HashSet<string> OfTheirOwn =
        ["XLMRoberta", "Camembert", "MBart", "MBart50", "Nllb", "Barthez", "XGLM", "M2M100", "PLBart", "SeamlessM4T", "Albert", "XLNet", "BigBird", "Rembert", "FNet", "DebertaV2", "CpmAnt"];

    /// <summary>Whether the beginning-of-sequence token goes before a text and the end-of-sequence token behind it.</summary>
    /// <exception cref="ModelFormatException">The family does more than that.</exception>
    internal static (bool Beginning, bool End) TokensAround(IReadOnlyList<JsonElement> settings, string source)
    {
        string name = settings.Select(s => s.StringOrNull("tokenizer_class")).FirstOrDefault(n => n is not null) ?? "";
        string family = name.Replace("TokenizerFast", "", StringComparison.Ordinal).Replace("Tokenizer", "", StringComparison.Ordinal);
        if (OfTheirOwn.Contains(family))
        {
            throw new ModelFormatException(
                $"'{source}' belongs to a {name}, whose ids or special tokens are not those of the SentencePiece file; give the model's tokenizer.json, which says them.");
        }

        bool isEnded = Ended.Contains(family);
        return (Setting("add_bos_token") ?? !isEnded, Setting("add_eos_token") ?? isEnded);

        bool? Setting(string key) => settings.Select(s => s.BoolOrNull(key)).FirstOrDefault(b => b is not null);
    }
}
