using Microsoft.ML.Tokenizers;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.SentencePiece;

/// <summary>SentencePiece's own tokenizer.model (BPE or Unigram), read by Microsoft.ML.Tokenizers.</summary>
public sealed class SentencePieceModelTokenizer : ITextTokenizer
{
    private readonly SentencePieceTokenizer _tokenizer;
    private readonly int[] _before;
    private readonly int[] _behind;

    private SentencePieceModelTokenizer(SentencePieceTokenizer tokenizer, bool addBeginning, bool addEnd)
    {
        _tokenizer = tokenizer;
        VocabularySize = tokenizer.Vocabulary.Values.DefaultIfEmpty(-1).Max() + 1;
        SpecialTokens = new SpecialTokens(
            InVocabulary(tokenizer.UnknownToken, tokenizer.UnknownId),
            InVocabulary(tokenizer.BeginningOfSentenceToken, tokenizer.BeginningOfSentenceId),
            InVocabulary(tokenizer.EndOfSentenceToken, tokenizer.EndOfSentenceId));
        _before = addBeginning && SpecialTokens.BeginningOfSequence is int first ? [first] : [];
        _behind = addEnd && SpecialTokens.EndOfSequence is int last ? [last] : [];
    }

    /// <inheritdoc/>
    public int VocabularySize { get; }

    /// <inheritdoc/>
    public SpecialTokens SpecialTokens { get; }

    /// <summary>Reads a model.</summary>
    /// <param name="content">The whole file.</param>
    /// <param name="source">Name of the file for messages.</param>
    /// <param name="addBeginning">Whether encoding puts the beginning-of-sequence token before a text.</param>
    /// <param name="addEnd">Whether encoding puts the end-of-sequence token behind a text.</param>
    /// <exception cref="ModelFormatException">The content is no SentencePiece model.</exception>
    public static SentencePieceModelTokenizer Read(ReadOnlyMemory<byte> content, string source, bool addBeginning = true, bool addEnd = false)
    {
        try
        {
            using MemoryStream stream = new(content.ToArray());
            return new SentencePieceModelTokenizer(SentencePieceTokenizer.Create(stream, addBeginning, addEnd), addBeginning, addEnd);
        }
        // The library reports a damaged file by whatever its internals run into.
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            throw new ModelFormatException($"'{source}' is no SentencePiece model: {e.Message} Fetch tokenizer.model again from where the model comes from.", e);
        }
    }

    /// <inheritdoc/>
    public int[] Encode(string text, bool addSpecialTokens = true)
    {
        // The library leaves the special tokens of an empty text out.
        IReadOnlyList<int> ids = _tokenizer.EncodeToIds(text, addBeginningOfSentence: false, addEndOfSentence: false);
        return addSpecialTokens ? [.. _before, .. ids, .. _behind] : [.. ids];
    }

    /// <inheritdoc/>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true)
    {
        int[] known = [.. ids];
        foreach (int id in known)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(id, nameof(ids));
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(id, VocabularySize, nameof(ids));
        }

        return _tokenizer.Decode(known, considerSpecialTokens: !skipSpecialTokens);
    }

    private int? InVocabulary(string? token, int id) =>
        token is not null && _tokenizer.Vocabulary.TryGetValue(token, out int found) && found == id ? id : null;
}
