using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;

/// <summary>Every word is a token, or unknown.</summary>
internal sealed class WordLevelModel : ITokenModel
{
    private readonly TokenVocabulary _vocabulary;
    private readonly string _unknownToken;
    private readonly string _source;

    /// <param name="vocabulary">The tokens.</param>
    /// <param name="unknownToken">Token for other words; the vocabulary need not have it.</param>
    /// <param name="source">Name of the file for messages.</param>
    public WordLevelModel(TokenVocabulary vocabulary, string unknownToken, string source)
    {
        _vocabulary = vocabulary;
        _unknownToken = unknownToken;
        _source = source;
        UnknownId = vocabulary.IdOf(unknownToken);
    }

    public int VocabularySize => _vocabulary.Size;

    public int? UnknownId { get; }

    public void Encode(string word, List<int> ids) => ids.Add(_vocabulary.IdOf(word) ?? UnknownId ?? throw new ModelFormatException(
        $"'{_source}' has neither the word '{word}' nor the token '{_unknownToken}' for unknown words; use the vocabulary that belongs to the model."));

    public string? TokenOf(int id) => _vocabulary.TokenOf(id);

    public int? IdOf(string token) => _vocabulary.IdOf(token);
}
