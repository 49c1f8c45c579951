using System.Globalization;
using System.Text;
using OrtQLoRA.Trainer.Tokenizers.Bpe;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;

/// <summary>Byte-pair encoding with ranked merges: the pair that was learnt first merges first.</summary>
internal sealed class BpeModel : ITokenModel
{
    private readonly TokenVocabulary _vocabulary;
    private readonly BpeModelOptions _options;
    private readonly MergeTable _merges;
    private readonly int?[] _byteIds = new int?[256];

    /// <param name="vocabulary">The tokens.</param>
    /// <param name="merges">Merges over the vocabulary's ids.</param>
    /// <param name="options">The rules besides.</param>
    public BpeModel(TokenVocabulary vocabulary, MergeTable merges, BpeModelOptions options)
    {
        _vocabulary = vocabulary;
        _merges = merges;
        _options = options;
        UnknownId = options.UnknownToken is { } unknown ? vocabulary.IdOf(unknown) : null;
        for (int b = 0; options.ByteFallback && b < 256; b++)
        {
            _byteIds[b] = vocabulary.IdOf(string.Create(CultureInfo.InvariantCulture, $"<0x{b:X2}>"));
        }
    }

    public int VocabularySize => _vocabulary.Size;

    public int? UnknownId { get; }

    public void Encode(string word, List<int> ids)
    {
        if (_options.IgnoreMerges && _vocabulary.IdOf(word) is int whole)
        {
            ids.Add(whole);
            return;
        }

        List<int> symbols = [];
        bool lastWasUnknown = false;
        int position = 0;
        Span<byte> utf8 = stackalloc byte[4];
        foreach (Rune rune in word.EnumerateRunes())
        {
            string symbol = (position > 0 ? _options.ContinuingPrefix : "") + rune
                + (position + rune.Utf16SequenceLength == word.Length ? _options.EndOfWordSuffix : "");
            position += rune.Utf16SequenceLength;
            bool unknown = false;
            if (_vocabulary.IdOf(symbol) is int id)
            {
                symbols.Add(id);
            }
            else if (!TryAddBytes(utf8[..rune.EncodeToUtf8(utf8)], symbols) && UnknownId is int unknownId)
            {
                unknown = true;
                if (!(lastWasUnknown && _options.FuseUnknown))
                {
                    symbols.Add(unknownId);
                }
            }

            lastWasUnknown = unknown;
        }

        ids.AddRange(_merges.Apply(symbols));
    }

    public string? TokenOf(int id) => _vocabulary.TokenOf(id);

    public int? IdOf(string token) => _vocabulary.IdOf(token);

    private bool TryAddBytes(ReadOnlySpan<byte> bytes, List<int> symbols)
    {
        foreach (byte b in bytes)
        {
            if (_byteIds[b] is null)
            {
                return false;
            }
        }

        foreach (byte b in bytes)
        {
            symbols.Add(_byteIds[b]!.Value);
        }

        return true;
    }
}
