namespace OrtQLoRA.Trainer.Data;

/// <summary>One example: token ids, inputs of the model's own, and what is to be learnt from them.</summary>
public sealed class TrainingExample
{
    /// <summary>Label that is not counted, as in PyTorch's cross-entropy.</summary>
    public const long IgnoreIndex = -100;

    /// <summary>Where the example stands in the data.</summary>
    public required SourceLine Source { get; init; }

    /// <summary>Token ids; empty for models without <c>input_ids</c>.</summary>
    public long[] InputIds { get; init; } = [];

    /// <summary>1 for tokens to attend to; null for all ones.</summary>
    public long[]? AttentionMask { get; init; }

    /// <summary>Segment of each token; null for zeros.</summary>
    public long[]? TokenTypeIds { get; init; }

    /// <summary>Position of each token; null to count them.</summary>
    public long[]? PositionIds { get; init; }

    /// <summary>
    /// Label of each token, aligned with <see cref="InputIds"/> (causal models shift inside), -100 where none is counted;
    /// null for the ids themselves in causal language modelling.
    /// </summary>
    public long[]? Labels { get; init; }

    /// <summary>Class of the whole example.</summary>
    public long? Label { get; init; }

    /// <summary>Values to reach in regression.</summary>
    public ExampleTensor? Target { get; init; }

    /// <summary>What the example belongs to (embedding task): its positive, then negatives of its own.</summary>
    public IReadOnlyList<TrainingExample> Candidates { get; init; } = [];

    /// <summary>Values for other graph inputs, by input name.</summary>
    public IReadOnlyDictionary<string, ExampleTensor> OtherInputs { get; init; } = new Dictionary<string, ExampleTensor>();

    /// <summary>Number of tokens, padding within the line not counted.</summary>
    public long TokenCount => AttentionMask is null ? InputIds.Length : AttentionMask.Count(m => m != 0);
}
