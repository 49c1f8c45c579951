namespace OrtQLoRA.Trainer.Tokenizers;

/// <summary>Turns text into token ids and back. Safe for use from several threads at once.</summary>
public interface ITextTokenizer
{
    /// <summary>Number of ids: every id lies in 0 to <see cref="VocabularySize"/> - 1.</summary>
    int VocabularySize { get; }

    /// <summary>Ids with a meaning of their own.</summary>
    SpecialTokens SpecialTokens { get; }

    /// <summary>Turns text into ids.</summary>
    /// <param name="text">Any text; characters that the vocabulary lacks become bytes or the unknown token.</param>
    /// <param name="addSpecialTokens">
    /// Whether to add what the tokenizer's own files say belongs around a text, such as a first &lt;s&gt; or [CLS] and [SEP].
    /// An end-of-sequence token that only training texts carry is the caller's to add.
    /// </param>
    int[] Encode(string text, bool addSpecialTokens = true);

    /// <summary>Turns ids into text. Bytes that form no UTF-8 become U+FFFD.</summary>
    /// <param name="ids">Ids, for example of a generated sequence.</param>
    /// <param name="skipSpecialTokens">Whether special tokens leave no trace in the text.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id lies outside the vocabulary.</exception>
    string Decode(IEnumerable<int> ids, bool skipSpecialTokens = true);
}
