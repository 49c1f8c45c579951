using System.Text.RegularExpressions;

namespace OrtQLoRA.Trainer.Tokenizers.Tiktoken;

/// <summary>What a tiktoken file does not tell: how text is split, and the special tokens behind the ranks.</summary>
/// <param name="Name">The encoding's name.</param>
/// <param name="Ranks">Number of tokens in its file, by which it is known.</param>
/// <param name="Pattern">Regular expression of words, in .NET's syntax.</param>
/// <param name="SpecialTokens">Special tokens with their ids.</param>
internal sealed record TiktokenFamily(string Name, int Ranks, string Pattern, IReadOnlyDictionary<string, int> SpecialTokens)
{
    private const string Gpt2Pattern = @"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private const string Cl100kPattern =
        @"'(?i:[sdmt]|ll|ve|re)|(?>[^\r\n\p{L}\p{N}]?)\p{L}+|\p{N}{1,3}| ?(?>[^\s\p{L}\p{N}]+)[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";

    private const string Llama3Pattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string QwenPattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string Contraction = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)?";

    private const string O200kPattern =
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + Contraction
        + @"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + Contraction
        + @"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>The encodings whose files are known by their size.</summary>
    internal static IReadOnlyList<TiktokenFamily> Known { get; } =
    [
        new("r50k_base", 50256, Gpt2Pattern, From(50256, "<|endoftext|>")),
        new("p50k_base", 50280, Gpt2Pattern, From(50256, "<|endoftext|>")),
        new("cl100k_base", 100256, Cl100kPattern, new Dictionary<string, int>(From(100257, "<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")) { ["<|endofprompt|>"] = 100276 }),
        new("o200k_base", 199998, O200kPattern, new Dictionary<string, int> { ["<|endoftext|>"] = 199999, ["<|endofprompt|>"] = 200018 }),
        new("Llama 3", 128000, Llama3Pattern, Llama3Tokens()),
        new("Qwen", 151643, QwenPattern, From(151643, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", .. Enumerable.Range(0, 205).Select(i => $"<|extra_{i}|>")])),
    ];

    /// <summary>The pattern over characters.</summary>
    internal Regex Words => new(Pattern, RegexOptions.CultureInvariant);

    private static Dictionary<string, int> From(int first, params IReadOnlyList<string> tokens) => Enumerable.Range(0, tokens.Count).ToDictionary(i => tokens[i], i => first + i);

    // The reserved tokens fill up the 256 places behind the ranks.
    private static Dictionary<string, int> Llama3Tokens()
    {
        string[] named =
        [
            "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|step_id|>",
            "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
        ];
        return From(128000, [.. named, .. Enumerable.Range(2, 256 - named.Length).Select(i => $"<|reserved_special_token_{i}|>")]);
    }
}
