using OrtQLoRA.Trainer.Chat;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Trainer.Data;

/// <summary>What records are checked against: the task, the model's limits, and how text becomes tokens.</summary>
public sealed record DataRequirements
{
    /// <summary>Decides the form of labels.</summary>
    public required TrainingTask Task { get; init; }

    /// <summary>Whether the model has an input <c>input_ids</c>, which every record must then bring.</summary>
    public bool NeedsTokens { get; init; } = true;

    /// <summary>Number of token ids of the model; null if the model does not tell.</summary>
    public long? VocabularySize { get; init; }

    /// <summary>Number of classes (the vocabulary for causal models); null if the model does not tell.</summary>
    public long? ClassCount { get; init; }

    /// <summary>Names of the classes in order, for labels that are words; empty if none are known.</summary>
    public IReadOnlyList<string> ClassNames { get; init; } = [];

    /// <summary>Tokens to which a record is brought; blocks of plain text have this length. Null does not cut records.</summary>
    public int? MaxLength { get; init; }

    /// <summary>Tokens beyond which the model has no positions; null if it does not tell.</summary>
    public int? ContextLength { get; init; }

    /// <summary>What happens to records longer than <see cref="MaxLength"/>.</summary>
    public TruncationPolicy Truncation { get; init; }

    /// <summary>Turns text into tokens; null if none was given, so that records must bring ids.</summary>
    public ITextTokenizer? Tokenizer { get; init; }

    /// <summary>Turns conversations into text; null if none is known.</summary>
    public ChatTemplate? ChatTemplate { get; init; }

    /// <summary>Whether to end every text with the tokenizer's end-of-sequence token.</summary>
    public bool AppendEndOfSequence { get; init; }

    /// <summary>Which tokens count in the loss of a causal language model.</summary>
    public LossTokens LossOn { get; init; }

    /// <summary>Column by role (<c>text</c>, <c>prompt</c>, <c>label</c>, ...) where the data name it otherwise.</summary>
    public IReadOnlyDictionary<string, string> Columns { get; init; } = new Dictionary<string, string>();

    /// <summary>What happens at a record that cannot be used.</summary>
    public BadLinePolicy OnBadLine { get; init; }

    /// <summary>Whether data are read as they are needed.</summary>
    public StreamingMode Streaming { get; init; }

    /// <summary>Is told what was left out; null for nobody.</summary>
    public Action<string>? Warn { get; init; }

    /// <summary>The token with which an encoder-decoder model's decoder starts, from which its inputs follow where data give labels alone; null if it is not known.</summary>
    public long? DecoderStartId { get; init; }

    /// <summary>Token id that stands for nothing.</summary>
    public long PadId { get; init; }

    /// <summary>Graph inputs besides token ids, masks, segments and positions, which records must bring by name.</summary>
    public IReadOnlyCollection<string> OtherInputs { get; init; } = [];
}
