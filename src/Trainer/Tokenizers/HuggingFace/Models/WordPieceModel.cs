using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;

/// <summary>WordPiece (Schuster and Nakajima 2012): the longest token that begins the word, then the longest that continues it.</summary>
internal sealed class WordPieceModel : ITokenModel
{
    private readonly TokenVocabulary _vocabulary;
    private readonly string _continuingPrefix;
    private readonly int _maxCharacters;
    private readonly int _unknownId;

    /// <param name="vocabulary">The tokens.</param>
    /// <param name="unknownToken">Token for words that cannot be split.</param>
    /// <param name="continuingPrefix">What begins every token that goes on a word, <c>##</c> as a rule.</param>
    /// <param name="maxCharacters">Longer words are unknown.</param>
    /// <exception cref="ModelFormatException">The vocabulary lacks the unknown token.</exception>
    public WordPieceModel(TokenVocabulary vocabulary, string unknownToken, string continuingPrefix, int maxCharacters)
    {
        _vocabulary = vocabulary;
        _continuingPrefix = continuingPrefix;
        _maxCharacters = maxCharacters;
        _unknownId = vocabulary.IdOf(unknownToken)
            ?? throw new ModelFormatException($"The WordPiece vocabulary has no token '{unknownToken}', which stands for unknown words; use the vocabulary that belongs to the model.");
    }

    public int VocabularySize => _vocabulary.Size;

    public int? UnknownId => _unknownId;

    public void Encode(string word, List<int> ids)
    {
        if (word.EnumerateRunes().Count() > _maxCharacters)
        {
            ids.Add(_unknownId);
            return;
        }

        int before = ids.Count;
        for (int start = 0; start < word.Length;)
        {
            string piece = start > 0 ? _continuingPrefix + word[start..] : word;
            int prefix = piece.Length - (word.Length - start);
            int length = piece.Length;
            int id = 0;
            while (length > prefix && !_vocabulary.SpanLookup.TryGetValue(piece.AsSpan(0, length), out id))
            {
                length--;
            }

            if (length <= prefix)
            {
                ids.RemoveRange(before, ids.Count - before);
                ids.Add(_unknownId);
                return;
            }

            ids.Add(id);
            start += length - prefix;
        }
    }

    public string? TokenOf(int id) => _vocabulary.TokenOf(id);

    public int? IdOf(string token) => _vocabulary.IdOf(token);
}
