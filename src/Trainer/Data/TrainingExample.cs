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

    /// <summary>
    /// What an encoder-decoder model's decoder reads; <see cref="Labels"/> are then aligned with it instead. Null for other models.
    /// </summary>
    public long[]? DecoderInputIds { get; init; }

    /// <summary>Class of the whole example.</summary>
    public long? Label { get; init; }

    /// <summary>Values to reach in regression.</summary>
    public ExampleTensor? Target { get; init; }

    /// <summary>What the example belongs to (embedding task): its positive, then negatives of its own.</summary>
    public IReadOnlyList<TrainingExample> Candidates { get; init; } = [];

    /// <summary>Values for other graph inputs, by input name.</summary>
    public IReadOnlyDictionary<string, ExampleTensor> OtherInputs { get; init; } = new Dictionary<string, ExampleTensor>();

    /// <summary>Number of the example in a packed row that each token belongs to, from 1; null for a row of one example.</summary>
    public long[]? SegmentIds { get; init; }

    /// <summary>The examples that a packed row is made of, for messages; empty for an example of its own.</summary>
    public IReadOnlyList<TrainingExample> Parts { get; init; } = [];

    /// <summary>Number of tokens, padding within the line not counted.</summary>
    public long TokenCount => AttentionMask is null ? InputIds.Length : AttentionMask.Count(m => m != 0);

    /// <summary>
    /// Puts examples of a causal language model into one row. Positions begin anew with each, and nothing is to be predicted
    /// from one example of the next.
    /// </summary>
    /// <param name="parts">At least one example without classes, targets and inputs of the model's own.</param>
    internal static TrainingExample Pack(IReadOnlyList<TrainingExample> parts) => new()
    {
        Source = parts[0].Source,
        Parts = parts,
        InputIds = [.. parts.SelectMany(p => p.InputIds)],
        AttentionMask = parts.Any(p => p.AttentionMask is not null) ? [.. parts.SelectMany(p => p.AttentionMask ?? Repeated(1, p))] : null,
        TokenTypeIds = parts.Any(p => p.TokenTypeIds is not null) ? [.. parts.SelectMany(p => p.TokenTypeIds ?? Repeated(0, p))] : null,
        PositionIds = [.. parts.SelectMany(p => p.PositionIds ?? Enumerable.Range(0, p.InputIds.Length).Select(i => (long)i))],
        Labels = [.. parts.SelectMany(p => Enumerable.Range(0, p.InputIds.Length).Select(i => i == 0 ? IgnoreIndex : p.LabelAt(i)))],
        SegmentIds = [.. parts.SelectMany((p, i) => Repeated(i + 1, p))],
    };

    /// <summary>The label of a token: the one given, or the token itself where it is attended to.</summary>
    internal long LabelAt(int token) => Labels is not null ? Labels[token]
        : AttentionMask is null || AttentionMask[token] != 0 ? InputIds[token]
        : IgnoreIndex;

    /// <summary>The first tokens, as an example of its own.</summary>
    internal TrainingExample Beginning(int tokens) => InputIds.Length <= tokens || DecoderInputIds is not null ? this : new TrainingExample
    {
        Source = Source,
        InputIds = InputIds[..tokens],
        AttentionMask = AttentionMask?[..tokens],
        TokenTypeIds = TokenTypeIds?[..tokens],
        PositionIds = PositionIds?[..tokens],
        Labels = Labels?[..tokens],
    };

    private static IEnumerable<long> Repeated(long value, TrainingExample like) => Enumerable.Repeat(value, like.InputIds.Length);
}
