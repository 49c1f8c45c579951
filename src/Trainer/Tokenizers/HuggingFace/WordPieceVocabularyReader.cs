using System.Text;
using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Decoders;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Normalizers;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PostProcessors;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace;

/// <summary>
/// Reads a WordPiece vocabulary (vocab.txt: one token a line, the id is the line's number from 0) as BERT's own tokenizer does.
/// </summary>
/// <remarks>
/// Text becomes lower case unless tokenizer_config.json beside it says <c>do_lower_case: false</c> or, where it says nothing, the
/// vocabulary itself holds upper-case letters. Microsoft.ML.Tokenizers is not used for this: its BERT tokenizer drops
/// symbols such as = and takes accents off only where the ICU library is installed.
/// </remarks>
internal static class WordPieceVocabularyReader
{
    private const string UnknownToken = "[UNK]";
    private const string PaddingToken = "[PAD]";
    private const string FirstToken = "[CLS]";
    private const string SeparatorToken = "[SEP]";
    private const string MaskToken = "[MASK]";
    private const string ContinuingPrefix = "##";
    private const int MaxCharacters = 100;

    /// <summary>Whether the content looks like such a vocabulary: UTF-8 lines, one of which is [UNK].</summary>
    public static bool IsVocabulary(ReadOnlySpan<byte> content) =>
        System.Text.Unicode.Utf8.IsValid(content) && (content.StartsWith("[UNK]\n"u8) || content.IndexOf("\n[UNK]\n"u8) >= 0 || content.IndexOf("\n[UNK]\r\n"u8) >= 0);

    /// <param name="content">The whole file, UTF-8.</param>
    /// <param name="settings">Parsed settings files beside it: see <see cref="SpecialTokensReader"/>.</param>
    /// <param name="source">Name of the file for messages.</param>
    /// <exception cref="ModelFormatException">The file lacks [UNK], [CLS] or [SEP].</exception>
    public static PipelineTokenizer Read(ReadOnlySpan<byte> content, IReadOnlyList<JsonElement> settings, string source)
    {
        string[] lines = Encoding.UTF8.GetString(content).TrimEnd('\n', '\r').Split('\n');
        TokenVocabulary vocabulary = new(lines.Select((line, id) => KeyValuePair.Create(line.TrimEnd('\r'), id)), source);
        bool lowerCase = Setting("do_lower_case") ?? !lines.Any(line => !line.StartsWith('[') && line.Any(char.IsAsciiLetterUpper));
        WordPieceModel model = new(vocabulary, UnknownToken, ContinuingPrefix, MaxCharacters);
        int first = RequiredId(FirstToken);
        int separator = RequiredId(SeparatorToken);
        string[] special = [PaddingToken, UnknownToken, FirstToken, SeparatorToken, MaskToken];
        return new PipelineTokenizer(
            model,
            [.. special.Where(t => vocabulary.IdOf(t) is not null).Select(t => new AddedToken(vocabulary.IdOf(t)!.Value, t, true, false, false, false, false))])
        {
            Normalizer = new BertNormalizer(true, Setting("tokenize_chinese_chars") ?? true, Setting("strip_accents") ?? lowerCase, lowerCase).Normalize,
            PreTokenizer = PreTokenizerReader.Bert,
            PostProcessor = TemplatePostProcessor.Classic(first, separator, doubledSeparator: false),
            Decoder = DecoderReader.WordPiece(ContinuingPrefix, cleanup: true),
            SpecialTokens = SpecialTokensReader.Read(settings, model.UnknownId, vocabulary.IdOf),
        };

        bool? Setting(string key) => settings.Select(s => s.BoolOrNull(key)).FirstOrDefault(b => b is not null);

        int RequiredId(string token) => vocabulary.IdOf(token)
            ?? throw new ModelFormatException($"'{source}' has no token {token}; a WordPiece vocabulary lists {UnknownToken}, {FirstToken} and {SeparatorToken}, one token a line.");
    }
}
