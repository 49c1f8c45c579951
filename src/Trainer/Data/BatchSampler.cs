namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// Orders examples and cuts them into micro-batches and windows of gradient accumulation. Each epoch shuffles with a
/// <see cref="SplitMix64"/> seeded by run seed and epoch, so that any epoch can be repeated alone; without shuffling every
/// epoch is in file order. The last micro-batch and the last window of an epoch may be smaller.
/// </summary>
public sealed class BatchSampler
{
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

    /// <summary>Optimizer steps of one epoch.</summary>
    public long StepsPerEpoch => DivideUp(DivideUp(_exampleCount, _batchSize), _accumulation);

    /// <summary>The windows of an epoch: each an optimizer step, made of micro-batches of example indices.</summary>
    /// <param name="epoch">Number of the epoch, from 0.</param>
    public IEnumerable<IReadOnlyList<int[]>> Windows(long epoch)
    {
        int[] order = [.. Enumerable.Range(0, _exampleCount)];
        if (_seed is ulong seed)
        {
            ulong epochSeed = new SplitMix64(seed ^ ((ulong)epoch * 0xD1B54A32D192ED03)).Next();
            new SplitMix64(epochSeed).Shuffle(order.AsSpan());
        }

        return order.Chunk(_batchSize).Chunk(_accumulation);
    }

    private static long DivideUp(long a, long b) => (a + b - 1) / b;
}
