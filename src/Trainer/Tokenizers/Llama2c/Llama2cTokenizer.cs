using System.Text;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Tokenizers.Bpe;

namespace OrtQLoRA.Trainer.Tokenizers.Llama2c;

/// <summary>
/// SentencePiece's byte-pair encoding over a llama2.c vocabulary: ids 0 unknown, 1 beginning, 2 end of sequence, 3 to 258
/// the bytes, then text. A space goes before the first word; characters that the vocabulary lacks become their bytes.
/// </summary>
public sealed class Llama2cTokenizer : ITextTokenizer
{
    /// <summary>Id of the unknown token; byte fallback leaves it unused.</summary>
    public const int UnknownId = 0;

    /// <summary>Id that begins a sequence.</summary>
    public const int BeginningOfSequenceId = 1;

    /// <summary>Id that ends a sequence.</summary>
    public const int EndOfSequenceId = 2;

    /// <summary>Id of the byte 0; byte b has this id plus b.</summary>
    public const int FirstByteId = 3;

    /// <summary>First id that stands for text.</summary>
    public const int FirstTextId = FirstByteId + 256;

    // Latin-1 maps bytes to characters one to one, which makes byte strings comparable keys.
    private static readonly Encoding ByteKeys = Encoding.Latin1;

    private readonly IReadOnlyList<VocabularyEntry> _entries;
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private readonly MergeTable _merges = new();

    /// <summary>Creates a tokenizer from its vocabulary.</summary>
    /// <param name="entries">Tokens by id: the three special ones, the 256 bytes, then text.</param>
    /// <exception cref="ModelFormatException">The vocabulary lacks the special tokens and bytes.</exception>
    public Llama2cTokenizer(IReadOnlyList<VocabularyEntry> entries)
    {
        if (entries.Count < FirstTextId)
        {
            throw new ModelFormatException(
                $"A llama2.c vocabulary begins with <unk>, <s>, </s> and 256 bytes, so it has at least {FirstTextId} tokens; this one has {entries.Count}.");
        }

        _entries = entries;
        for (int id = FirstTextId; id < entries.Count; id++)
        {
            if (entries[id].Bytes.Length > 0)
            {
                _ids.TryAdd(ByteKeys.GetString(entries[id].Bytes.Span), id);
            }
        }

        foreach ((string text, int id) in _ids)
        {
            for (int split = 1; split < text.Length; split++)
            {
                if (_ids.TryGetValue(text[..split], out int left) && _ids.TryGetValue(text[split..], out int right))
                {
                    _merges.Add(left, right, id, entries[id].Score);
                }
            }
        }
    }

    /// <summary>Tokens by id.</summary>
    public IReadOnlyList<VocabularyEntry> Entries => _entries;

    /// <inheritdoc/>
    public int VocabularySize => _entries.Count;

    /// <inheritdoc/>
    public SpecialTokens SpecialTokens { get; } = new(UnknownId, BeginningOfSequenceId, EndOfSequenceId);

    /// <summary>Reads a vocabulary file.</summary>
    /// <exception cref="ModelFormatException">The file is no such vocabulary.</exception>
    public static Llama2cTokenizer Load(string path) => new(Llama2cVocabularyFile.Read(File.ReadAllBytes(path), path));

    /// <inheritdoc/>
    public int[] Encode(string text, bool addSpecialTokens = true)
    {
        List<int> symbols = [];
        if (text.Length > 0)
        {
            Span<byte> utf8 = stackalloc byte[4];
            AddCharacter(" "u8);
            // A lone surrogate is no character; EnumerateRunes gives U+FFFD for it.
            foreach (Rune rune in text.EnumerateRunes())
            {
                AddCharacter(utf8[..rune.EncodeToUtf8(utf8)]);
            }
        }

        List<int> merged = _merges.Apply(symbols);
        return addSpecialTokens ? [BeginningOfSequenceId, .. merged] : [.. merged];

        void AddCharacter(ReadOnlySpan<byte> bytes)
        {
            if (_ids.TryGetValue(ByteKeys.GetString(bytes), out int id))
            {
                symbols.Add(id);
                return;
            }

            foreach (byte b in bytes)
            {
                symbols.Add(FirstByteId + b);
            }
        }
    }

    /// <inheritdoc/>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true)
    {
        List<byte> bytes = [];
        bool atStart = true;
        foreach (int id in ids)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(id, nameof(ids));
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(id, _entries.Count, nameof(ids));
            if (id < FirstByteId)
            {
                atStart = true;
                if (!skipSpecialTokens)
                {
                    bytes.AddRange(_entries[id].Bytes.Span);
                }

                continue;
            }

            ReadOnlySpan<byte> piece = id < FirstTextId ? [(byte)(id - FirstByteId)] : _entries[id].Bytes.Span;
            // Encode put a space before the first word of each sequence.
            bytes.AddRange(atStart && piece is [(byte)' ', ..] ? piece[1..] : piece);
            atStart = false;
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }
}
