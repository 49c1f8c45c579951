using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Trainer.Data;

/// <summary>What data lines are checked against: the task, the model's limits, and how text becomes tokens.</summary>
public sealed record DataRequirements
{
    /// <summary>Decides the form of labels.</summary>
    public required TrainingTask Task { get; init; }

    /// <summary>Whether the model has an input <c>input_ids</c>, which every line must then bring.</summary>
    public bool NeedsTokens { get; init; } = true;

    /// <summary>Number of token ids of the model; null if the model does not tell.</summary>
    public long? VocabularySize { get; init; }

    /// <summary>Number of classes (the vocabulary for causal models); null if the model does not tell.</summary>
    public long? ClassCount { get; init; }

    /// <summary>Tokens after which a line is cut; blocks of plain text have this length. Null does not cut lines.</summary>
    public int? MaxLength { get; init; }

    /// <summary>Turns text into tokens; null if none was given, so that lines must bring ids.</summary>
    public ITextTokenizer? Tokenizer { get; init; }

    /// <summary>Whether to end every text with the tokenizer's end-of-sequence token.</summary>
    public bool AppendEndOfSequence { get; init; }

    /// <summary>Graph inputs besides token ids, masks, segments and positions, which lines must bring by name.</summary>
    public IReadOnlyCollection<string> OtherInputs { get; init; } = [];
}
