using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Trainer.Data;

/// <summary>Turns the text of a line into checked token ids.</summary>
internal static class TextEncoding
{
    internal static long[] Encode(string text, DataRequirements requirements, SourceLine source)
    {
        ITextTokenizer tokenizer = requirements.Tokenizer
            ?? throw new TrainingDataException(source, "the line holds text, but no tokenizer was given: pass --tokenizer, or write \"input_ids\" instead.");
        List<long> ids = [.. tokenizer.Encode(text).Select(id => (long)id)];
        if (requirements.AppendEndOfSequence)
        {
            ids.Add(tokenizer.SpecialTokens.EndOfSequence
                ?? throw new TrainingDataException(source, "the tokenizer has no end-of-sequence token to append to the text."));
        }

        foreach (long id in ids)
        {
            if (requirements.VocabularySize is long size && id >= size)
            {
                throw new TrainingDataException(
                    source,
                    $"the tokenizer made id {id}, which lies outside the model's vocabulary (0 to {size - 1}); the tokenizer "
                    + $"({tokenizer.VocabularySize} ids) does not belong to this model.");
            }
        }

        return [.. ids];
    }
}
