using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// Makes batches of examples for the inputs a model has: shorter rows are padded at the right (pad id, mask 0, segment 0,
/// label -100); positions count from 0 unless the data give them, as PyTorch's models count them.
/// </summary>
public sealed class DataCollator
{
    private readonly IReadOnlyList<ModelInput> _inputs;
    private readonly TrainingTask _task;
    private readonly long _padId;

    /// <summary>Creates a collator.</summary>
    /// <param name="inputs">What a batch must fill: the model's own inputs and labels or target.</param>
    /// <param name="task">Decides the form of labels.</param>
    /// <param name="padId">Token id in padded places; the mask is 0 there.</param>
    public DataCollator(IReadOnlyList<ModelInput> inputs, TrainingTask task, long padId = 0)
    {
        _inputs = inputs;
        _task = task;
        _padId = padId;
    }

    /// <summary>
    /// Whether a batch must pass the graph whole: the model takes exactly one number of rows, or the loss holds rows against
    /// each other.
    /// </summary>
    public bool KeepsBatchWhole => _task == TrainingTask.Embedding || _inputs.Any(i => i.FixedSize(0) is not null);

    /// <summary>The only number of rows that the model takes; null for any.</summary>
    internal long? FixedRows => _inputs.Select(i => i.FixedSize(0)).FirstOrDefault(s => s is not null);

    /// <summary>Least length of a padded row; null for that of the longest.</summary>
    public int? MinimumLength { get; init; }

    /// <summary>Padded lengths are multiples of this.</summary>
    public int LengthMultiple { get; init; } = 1;

    /// <summary>Makes one batch.</summary>
    /// <param name="examples">At least one example.</param>
    /// <exception cref="TrainingDataException">An example does not fit a fixed size of the model, or shapes differ.</exception>
    public Batch Collate(IReadOnlyList<TrainingExample> examples)
    {
        ArgumentOutOfRangeException.ThrowIfZero(examples.Count);
        IReadOnlyList<TrainingExample> rows = _task == TrainingTask.Embedding ? WithCandidates(examples) : examples;
        int length = PaddedLength(rows);
        return new Batch
        {
            Inputs = _inputs.ToDictionary(i => i.Name, i => Fill(i, rows, length)),
            Examples = examples,
            CountedTargets = examples.Sum(CountTargets),
            Tokens = rows.Sum(e => e.TokenCount),
        };
    }

    /// <summary>Anchors, then their positives in the same order, then all negatives.</summary>
    private static List<TrainingExample> WithCandidates(IReadOnlyList<TrainingExample> anchors) =>
        [.. anchors, .. anchors.Select(a => a.Candidates[0]), .. anchors.SelectMany(a => a.Candidates.Skip(1))];

    /// <summary>For anchors the row of their positive, for candidates -100.</summary>
    private static long[] PositiveRows(IReadOnlyList<TrainingExample> rows)
    {
        int anchors = rows.Count(r => r.Candidates.Count > 0);
        return [.. Enumerable.Range(0, rows.Count).Select(i => i < anchors ? anchors + i : TrainingExample.IgnoreIndex)];
    }

    /// <summary>How many terms an example adds to the mean of the loss.</summary>
    public long CountTargets(TrainingExample example)
    {
        switch (_task)
        {
            case TrainingTask.SequenceClassification or TrainingTask.Embedding:
                return 1;
            case TrainingTask.Regression:
                return example.Target?.Values.Length ?? 0;
            default:
                long counted = 0;
                for (int i = _task == TrainingTask.CausalLm ? 1 : 0; i < (HasOwnLabels(example) ? example.Labels! : example.InputIds).Length; i++)
                {
                    counted += example.LabelAt(i) != TrainingExample.IgnoreIndex ? 1 : 0;
                }

                return counted;
        }
    }

    private int PaddedLength(IReadOnlyList<TrainingExample> examples)
    {
        TrainingExample longest = examples.MaxBy(e => e.InputIds.Length)!;
        long? fixedLength = _inputs.Where(i => ModelInput.TokenInputs.Contains(i.Name)).Select(i => i.FixedSize(1)).FirstOrDefault(s => s is not null);
        if (fixedLength is long size && longest.InputIds.Length > size)
        {
            throw new TrainingDataException(
                longest.Source, $"the line has {longest.InputIds.Length} tokens, but the model takes exactly {size}; cut lines with --max-length {size}.");
        }

        int length = Math.Max(longest.InputIds.Length, MinimumLength ?? 0);
        return (int)(fixedLength ?? (length + LengthMultiple - 1) / LengthMultiple * LengthMultiple);
    }

    private DenseTensor Fill(ModelInput input, IReadOnlyList<TrainingExample> examples, int length)
    {
        if (!ModelInput.IsCache(input.Name) && input.FixedSize(0) is long rows && rows != examples.Count)
        {
            throw new TrainingDataException(
                examples[0].Source,
                $"the batch that starts here has {examples.Count} rows, but the model's input '{input.Name}' takes exactly {rows}; "
                + "set --batch to that number and give a multiple of it, or export the model with a dynamic batch axis.");
        }

        return input.Name switch
        {
            "input_ids" => Tokens(input, examples, length, _padId, (e, i) => e.InputIds[i]),
            "attention_mask" => Tokens(input, examples, length, 0, (e, i) => e.AttentionMask?[i] ?? 1),
            "token_type_ids" => Tokens(input, examples, length, 0, (e, i) => e.TokenTypeIds?[i] ?? 0),
            "position_ids" => Positions(input, examples, length),
            ArtifactNames.SegmentIds => Tokens(input, examples, length, 0, (e, i) => e.SegmentIds?[i] ?? 1),
            ArtifactNames.SegmentPositions => Tokens(input, examples, length, 0, PlaceInSegment),
            ArtifactNames.Labels when _task == TrainingTask.SequenceClassification =>
                TensorPacking.Pack(input, [examples.Count], examples.Select(e => e.Label ?? 0).ToArray().AsSpan()),
            ArtifactNames.Labels when _task == TrainingTask.Embedding => TensorPacking.Pack(input, [examples.Count], PositiveRows(examples).AsSpan()),
            ArtifactNames.Labels when HasOwnLabels(examples[0]) => Tokens(
                input, examples, examples.Max(e => e.Labels!.Length), TrainingExample.IgnoreIndex, e => e.Labels!.Length, (e, i) => e.Labels![i]),
            ModelInput.DecoderInputIds when HasDecoder(examples) => DecoderTokens(input, examples, _padId, (e, i) => e.DecoderInputIds![i]),
            ModelInput.DecoderAttentionMask when HasDecoder(examples) => DecoderTokens(input, examples, 0, (_, _) => 1),
            ArtifactNames.Labels => Tokens(input, examples, length, TrainingExample.IgnoreIndex, (e, i) => e.LabelAt(i)),
            "cache_position" => TensorPacking.Pack(input, [length], [.. Enumerable.Range(0, length).Select(i => (double)i)]),
            _ when ModelInput.IsCache(input.Name) => EmptyCache(input, examples.Count),
            ArtifactNames.Target => Stack(input, examples, e => e.Target!),
            _ => Stack(input, examples, e => e.OtherInputs[input.Name]),
        };
    }

    private static DenseTensor Tokens(
        ModelInput input, IReadOnlyList<TrainingExample> examples, int length, long padding, Func<TrainingExample, int, long> value)
    {
        if (input.Shape is { Rank: not 2 })
        {
            throw new UnsupportedOpException(
                $"The model's input '{input.Name}' has the shape {input.Shape}; data lines fill it as [batch, sequence]. Export the model with a mask and ids of rank 2.");
        }

        return Tokens(input, examples, length, padding, e => e.InputIds.Length, value);
    }

    // Labels of a decoder, or of a model that reads no tokens (features, sounds): a sequence of a length of their own.
    private static bool HasOwnLabels(TrainingExample example) => example.Labels is not null && (example.DecoderInputIds is not null || example.InputIds.Length == 0);

    private static bool HasDecoder(IReadOnlyList<TrainingExample> examples) => examples[0].DecoderInputIds is not null;

    private static DenseTensor DecoderTokens(ModelInput input, IReadOnlyList<TrainingExample> examples, long padding, Func<TrainingExample, int, long> value)
    {
        int longest = examples.Max(e => e.DecoderInputIds!.Length);
        long length = input.FixedSize(1) ?? longest;
        return longest <= length
            ? Tokens(input, examples, (int)length, padding, e => e.DecoderInputIds!.Length, value)
            : throw new TrainingDataException(
                examples.MaxBy(e => e.DecoderInputIds!.Length)!.Source, $"the line has {longest} labels, but the model's input '{input.Name}' takes exactly {length}.");
    }

    private static DenseTensor Tokens(
        ModelInput input, IReadOnlyList<TrainingExample> examples, int length, long padding, Func<TrainingExample, int> lengthOf, Func<TrainingExample, int, long> value)
    {
        long[] values = new long[examples.Count * length];
        for (int row = 0; row < examples.Count; row++)
        {
            int filled = lengthOf(examples[row]);
            for (int i = 0; i < length; i++)
            {
                values[(row * length) + i] = i < filled ? value(examples[row], i) : padding;
            }
        }

        return TensorPacking.Pack(input, [examples.Count, length], values.AsSpan());
    }

    // Segments are numbered from 1 without gaps and lie side by side.
    private static long PlaceInSegment(TrainingExample example, int token) =>
        example.SegmentIds is { } segments ? token - Array.IndexOf(segments, segments[token]) : token;

    private static DenseTensor Positions(ModelInput input, IReadOnlyList<TrainingExample> examples, int length)
    {
        long[] values = new long[examples.Count * length];
        for (int row = 0; row < examples.Count; row++)
        {
            long[]? given = examples[row].PositionIds;
            for (int i = 0; i < length; i++)
            {
                values[(row * length) + i] = given is null ? i : i < given.Length ? given[i] : 0;
            }
        }

        return TensorPacking.Pack(input, [examples.Count, length], values.AsSpan());
    }

    /// <summary>A past of length 0; layouts differ, so the names of open dimensions tell which is which.</summary>
    private static DenseTensor EmptyCache(ModelInput input, int rows)
    {
        if (input.Name == "use_cache_branch")
        {
            return new DenseTensor(input.ElementType, [1], new byte[1]);
        }

        Shape shape = input.Shape ?? throw new UnsupportedOpException($"The model's input '{input.Name}' has no shape; export the model without a key/value cache.");
        long[] dims = [.. shape.Select(d => d.Value
            ?? (d.Symbol?.Contains("batch", StringComparison.OrdinalIgnoreCase) == true ? rows
            : d.Symbol is string s && (s.Contains("past", StringComparison.OrdinalIgnoreCase) || s.Contains("seq", StringComparison.OrdinalIgnoreCase)) ? 0
            : throw new UnsupportedOpException(
                $"The model's input '{input.Name}' has the shape {shape}; which dimension '{d}' is cannot be told. Export the model without a key/value cache.")))];
        return new DenseTensor(input.ElementType, dims, new byte[input.ElementType.ByteLength(dims.Aggregate(1L, (n, d) => n * d))]);
    }

    private static DenseTensor Stack(ModelInput input, IReadOnlyList<TrainingExample> examples, Func<TrainingExample, ExampleTensor> part)
    {
        ExampleTensor first = part(examples[0]);
        double[] values = new double[examples.Count * first.Values.Length];
        for (int row = 0; row < examples.Count; row++)
        {
            ExampleTensor tensor = part(examples[row]);
            if (!tensor.Dims.AsSpan().SequenceEqual(first.Dims))
            {
                throw new TrainingDataException(
                    examples[row].Source,
                    $"'{input.Name}' has the shape [{string.Join(", ", tensor.Dims)}], but [{string.Join(", ", first.Dims)}] at {examples[0].Source}; "
                    + "examples of one batch must have equal shapes. Sort the data by shape or set --batch 1.");
            }

            tensor.Values.CopyTo(values, row * first.Values.Length);
        }

        // A regression head of one output is [batch, 1]; its target is written as a bare number.
        IEnumerable<long> dims = first.Dims.Prepend(examples.Count);
        bool lacksAxis = input.Shape?.Rank == first.Dims.Length + 2 && (input.Shape[-1].Value ?? 1) == 1;
        return TensorPacking.Pack(input, [.. lacksAxis ? dims.Append(1) : dims], values);
    }
}
