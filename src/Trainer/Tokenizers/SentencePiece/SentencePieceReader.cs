using System.Text;
using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Decoders;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Normalizers;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PostProcessors;

namespace OrtQLoRA.Trainer.Tokenizers.SentencePiece;

/// <summary>Makes a tokenizer of a SentencePiece file (tokenizer.model, spiece.model).</summary>
/// <remarks>
/// Microsoft.ML.Tokenizers reads such files too, but its release 2.0 differs from SentencePiece: each unknown character becomes a token of its
/// own, ids of bytes are wrong where their tokens do not stand at the beginning, spaces are kept where the file says to remove them, and
/// decoding loses characters.
/// </remarks>
internal static class SentencePieceReader
{
    private const char Mark = '\u2581';

    /// <param name="file">The file.</param>
    /// <param name="settings">Parsed settings files beside it.</param>
    /// <param name="source">Name of the file for messages.</param>
    /// <exception cref="ModelFormatException">The file asks for what is not known here.</exception>
    internal static PipelineTokenizer Read(SentencePieceFile file, IReadOnlyList<JsonElement> settings, string source)
    {
        if (file.MarksEndsOfWords)
        {
            throw new ModelFormatException($"'{source}' marks ends of words instead of beginnings (treat_whitespace_as_suffix), which is not known here; give the model's tokenizer.json.");
        }

        IReadOnlyList<SentencePiece> pieces = file.Pieces;
        int unknown = pieces.ToList().FindIndex(p => p.Kind == PieceKind.Unknown);
        ITokenModel model = file.Kind switch
        {
            SentencePieceFile.Unigram => new UnigramModel([.. pieces.Select(p => (p.Text, (double)p.Score))], unknown < 0 ? null : unknown, file.ByteFallback, source, id => pieces[id].IsInTexts),
            SentencePieceFile.BytePairs => new ScoredMergeModel(pieces, unknown < 0 ? null : unknown, file.ByteFallback, source),
            _ => throw new ModelFormatException($"'{source}' holds a SentencePiece model of kind {file.Kind}; unigram (1) and byte-pair encoding (2) can be read. Give the model's tokenizer.json."),
        };
        AddedToken[] added =
        [
            .. AddedTokenReader.ReadListed(settings, source)
                .Concat(pieces.Index().Where(p => p.Item.Kind == PieceKind.UserDefined).Select(p => new AddedToken(p.Index, p.Item.Text, false, false, false, false, false)))
                .DistinctBy(t => t.Id),
        ];
        SpecialTokens stated = SpecialTokensReader.Read(settings, model.UnknownId, t => added.FirstOrDefault(a => a.Content == t)?.Id ?? model.IdOf(t));
        SpecialTokens special = stated with
        {
            BeginningOfSequence = InFile(file.BeginningId) ?? stated.BeginningOfSequence,
            EndOfSequence = InFile(file.EndId) ?? stated.EndOfSequence,
            Padding = InFile(file.PaddingId) ?? stated.Padding,
        };
        (bool addsBeginning, bool addsEnd) = SentencePieceFamilies.TokensAround(settings, source);
        return new PipelineTokenizer(model, added)
        {
            Normalizer = Normalizer(file, source),
            PostProcessor = TemplatePostProcessor.Around(addsBeginning ? special.BeginningOfSequence : null, addsEnd ? special.EndOfSequence : null),
            Decoder = tokens => Decode(DecoderReader.ByteTokens(tokens), file.AddsDummyPrefix),
            SpecialTokens = special,
            ControlIds = pieces.Index().Where(p => p.Item.Kind == PieceKind.Control).Select(p => p.Index).ToHashSet(),
        };

        int? InFile(int id) => id >= 0 && id < pieces.Count ? id : null;
    }

    private static Func<string, string> Normalizer(SentencePieceFile file, string source)
    {
        CharacterMap map = CharacterMap.Read(file.CharacterMap, source);
        return text =>
        {
            string normal = map.NormalizeLongest(text);
            normal = file.RemovesExtraSpaces ? OneSpaceEach(normal) : normal;
            return normal.Length == 0 ? normal : ((file.AddsDummyPrefix ? " " : "") + normal).Replace(' ', Mark);
        };
    }

    private static string OneSpaceEach(string text)
    {
        StringBuilder result = new(text.Length);
        foreach (char c in text.AsSpan().Trim(' '))
        {
            if (c != ' ' || result[^1] != ' ')
            {
                result.Append(c);
            }
        }

        return result.ToString();
    }

    private static IReadOnlyList<string> Decode(IReadOnlyList<string> tokens, bool hasPrefix)
    {
        string text = string.Concat(tokens).Replace(Mark, ' ');
        return [hasPrefix && text.StartsWith(' ') ? text[1..] : text];
    }
}
