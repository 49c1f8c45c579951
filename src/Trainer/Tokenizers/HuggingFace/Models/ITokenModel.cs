namespace OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;

/// <summary>The vocabulary of a tokenizer, and the rule by which it splits a word into tokens.</summary>
internal interface ITokenModel
{
    /// <summary>One more than the highest id.</summary>
    int VocabularySize { get; }

    /// <summary>Id of the token for what the vocabulary cannot express, if it has one.</summary>
    int? UnknownId { get; }

    /// <summary>Appends the ids of a word.</summary>
    void Encode(string word, List<int> ids);

    /// <summary>The token's text, or null for an id without one.</summary>
    string? TokenOf(int id);

    /// <summary>Id of a token's text, or null.</summary>
    int? IdOf(string token);
}
