namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// Orders examples and cuts them into micro-batches and windows of gradient accumulation. Each epoch shuffles with a
/// <see cref="SplitMix64"/> seeded by run seed and epoch, so that any epoch can be repeated alone: epoch and number of windows
/// are the whole position in the data. Without shuffling every epoch is in file order. The last micro-batch and the last
/// window of an epoch may be smaller.
/// </summary>
public sealed class BatchSampler
{
    /// <summary>Micro-batches whose examples are sorted by length together, as Hugging Face's sampler has it.</summary>
    private const int BatchesOfAPool = 50;

    private readonly int _exampleCount;
    private readonly int _batchSize;
    private readonly int _accumulation;
    private readonly ulong? _seed;

    /// <summary>Creates a sampler.</summary>
    /// <param name="exampleCount">Number of examples, at least 1.</param>
    /// <param name="batchSize">Examples of a micro-batch.</param>
    /// <param name="accumulation">Micro-batches of an optimizer step.</param>
    /// <param name="shuffleSeed">Seed of the order; null for file order.</param>
    public BatchSampler(int exampleCount, int batchSize, int accumulation, ulong? shuffleSeed)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(exampleCount);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batchSize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(accumulation);
        _exampleCount = exampleCount;
        _batchSize = batchSize;
        _accumulation = accumulation;
        _seed = shuffleSeed;
    }

    /// <summary>Examples among which the next one is drawn; null for all of them. Memory grows with it, not with the data.</summary>
    public int? ShuffleBuffer { get; init; }

    /// <summary>
    /// Length of an example; if given, micro-batches are made of examples of about one length, out of pools of 50 micro-batches
    /// (fewer for small data), and taken in random order.
    /// </summary>
    public Func<int, int>? LengthOf { get; init; }

    /// <summary>Optimizer steps of one epoch.</summary>
    public long StepsPerEpoch => DivideUp(DivideUp(_exampleCount, _batchSize), _accumulation);

    /// <summary>The windows of an epoch: each an optimizer step, made of micro-batches of example indices.</summary>
    /// <param name="epoch">Number of the epoch, from 0.</param>
    public IEnumerable<IReadOnlyList<int[]>> Windows(long epoch)
    {
        SplitMix64? random = _seed is ulong seed ? new SplitMix64(new SplitMix64(seed ^ ((ulong)epoch * 0xD1B54A32D192ED03)).Next()) : null;
        IEnumerable<int> order = random is null ? Enumerable.Range(0, _exampleCount)
            : ShuffleBuffer is int buffer && buffer < _exampleCount ? Drawn(random, buffer)
            : Shuffled(random);
        IEnumerable<int[]> batches = LengthOf is null ? order.Chunk(_batchSize) : Grouped(order, LengthOf, random);
        return batches.Chunk(_accumulation);
    }

    private int[] Shuffled(SplitMix64 random)
    {
        int[] order = [.. Enumerable.Range(0, _exampleCount)];
        random.Shuffle(order.AsSpan());
        return order;
    }

    private IEnumerable<int> Drawn(SplitMix64 random, int buffer)
    {
        int[] waiting = [.. Enumerable.Range(0, buffer)];
        for (int next = buffer; next < _exampleCount; next++)
        {
            int drawn = (int)random.Below((ulong)buffer);
            yield return waiting[drawn];
            waiting[drawn] = next;
        }

        random.Shuffle(waiting.AsSpan());
        foreach (int last in waiting)
        {
            yield return last;
        }
    }

    private IEnumerable<int[]> Grouped(IEnumerable<int> order, Func<int, int> lengthOf, SplitMix64? random)
    {
        int pool = (int)Math.Clamp(_exampleCount / (_batchSize * 4L), 1, BatchesOfAPool) * _batchSize;
        foreach (int[] indices in order.Chunk(pool))
        {
            int[] lengths = Array.ConvertAll(indices, i => -lengthOf(i));
            Array.Sort(lengths, indices);
            int[][] batches = [.. indices.Chunk(_batchSize)];

            // The smaller batch, if any, stays last, so that an epoch has its number of steps.
            random?.Shuffle(batches.AsSpan(0, batches[^1].Length < _batchSize ? batches.Length - 1 : batches.Length));
            foreach (int[] batch in batches)
            {
                yield return batch;
            }
        }
    }

    private static long DivideUp(long a, long b) => (a + b - 1) / b;
}
