using Microsoft.ML.Tokenizers;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.Models;
using OrtQLoRA.Trainer.Tokenizers.HuggingFace.PreTokenizers;

namespace OrtQLoRA.Trainer.Tokenizers.Tiktoken;

/// <summary>Byte-pair encoding over ranked byte strings, by Microsoft.ML.Tokenizers. Tokens are spelled as GPT-2 spells bytes.</summary>
internal sealed class TiktokenModel : ITokenModel
{
    private readonly TiktokenTokenizer _tokenizer;
    private readonly Dictionary<int, byte[]> _bytes;

    /// <param name="tokenizer">Merges within words.</param>
    /// <param name="bytes">The bytes of each token by rank.</param>
    public TiktokenModel(TiktokenTokenizer tokenizer, Dictionary<int, byte[]> bytes)
    {
        _tokenizer = tokenizer;
        _bytes = bytes;
        VocabularySize = bytes.Keys.Max() + 1;
    }

    public int VocabularySize { get; }

    public int? UnknownId => null;

    public void Encode(string word, List<int> ids) => ids.AddRange(_tokenizer.EncodeToIds(word, considerPreTokenization: false, considerNormalization: false));

    public string? TokenOf(int id) => _bytes.TryGetValue(id, out byte[]? bytes) ? ByteLevelAlphabet.Spell(bytes) : null;

    // Special tokens stand among the added ones; nobody asks for others by their text.
    public int? IdOf(string token) => null;
}
