using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>An int8 weight [K, N] with a scale for each column, in the forms that the implementations read.</summary>
internal sealed class BenchmarkWeight
{
    /// <summary>Weights of a column that share a scale in MatMulNBits.</summary>
    internal const int BlockSize = 128;

    // Every session is made from the same tensors.
    private readonly sbyte[] _q;
    private readonly float[] _scale;
    private readonly Lazy<DenseTensor> _quantized;
    private readonly Lazy<DenseTensor> _transposed;
    private readonly Lazy<DenseTensor> _floats;
    private readonly Lazy<DenseTensor> _transposedFloats;
    private readonly Lazy<DenseTensor> _blocks;

    internal BenchmarkWeight(int k, int n)
    {
        K = k;
        N = n;
        _q = BenchmarkNumbers.Bytes(k * n);
        _scale = [.. Enumerable.Range(0, n).Select(i => (float)(Half)(0.001f + (0.00001f * (i % 50))))];
        _quantized = new(() => DenseTensor.Of([K, N], _q));
        _transposed = new(() => DenseTensor.Of([N, K], Swap(_q)));
        _floats = new(() => DenseTensor.Of([K, N], Dequantized()));
        _transposedFloats = new(() => DenseTensor.Of([N, K], Swap(Dequantized())));
        _blocks = new(MakeBlocks);
    }

    internal int K { get; }

    internal int N { get; }

    /// <summary>q, int8 [K, N].</summary>
    internal DenseTensor Quantized => _quantized.Value;

    /// <summary>q, int8 [N, K].</summary>
    internal DenseTensor Transposed => _transposed.Value;

    /// <summary>The scales, float [N].</summary>
    internal DenseTensor Scale => DenseTensor.Vector(_scale);

    /// <summary>The dequantized weight, float [K, N].</summary>
    internal DenseTensor Floats => _floats.Value;

    /// <summary>The dequantized weight, float [N, K].</summary>
    internal DenseTensor TransposedFloats => _transposedFloats.Value;

    /// <summary>q + 128 as MatMulNBits wants it, uint8 [N, blocks, block]; the last block is padded with 128, which is 0.</summary>
    internal DenseTensor Blocks => _blocks.Value;

    /// <summary>The scales for each block, float [N * blocks].</summary>
    internal DenseTensor BlockScales => DenseTensor.Vector([.. _scale.SelectMany(s => Enumerable.Repeat(s, BlockCount))]);

    private int BlockCount => (K + BlockSize - 1) / BlockSize;

    private DenseTensor MakeBlocks()
    {
        int blocks = BlockCount;
        byte[] bytes = new byte[N * blocks * BlockSize];
        bytes.AsSpan().Fill(128);
        for (int k = 0; k < K; k++)
        {
            for (int n = 0; n < N; n++)
            {
                bytes[(n * blocks * BlockSize) + k] = (byte)(_q[(k * N) + n] + 128);
            }
        }

        return DenseTensor.Of([N, blocks, BlockSize], bytes);
    }

    private float[] Dequantized()
    {
        float[] result = new float[_q.Length];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = _q[i] * _scale[i % N];
        }

        return result;
    }

    private T[] Swap<T>(T[] matrix)
    {
        T[] result = new T[matrix.Length];
        for (int k = 0; k < K; k++)
        {
            for (int n = 0; n < N; n++)
            {
                result[(n * K) + k] = matrix[(k * N) + n];
            }
        }

        return result;
    }
}
