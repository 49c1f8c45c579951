using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Trainer.Tests.Data;

/// <summary>One id a letter, and an end-of-sequence token.</summary>
internal sealed class LetterTokenizer : ITextTokenizer
{
    public int VocabularySize => 27;

    public SpecialTokens SpecialTokens { get; } = new(EndOfSequence: 26);

    public int[] Encode(string text, bool addSpecialTokens = true) => [.. text.Select(c => c - 'a')];

    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true) => string.Concat(ids.Select(i => (char)('a' + i)));
}
