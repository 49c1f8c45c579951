using System.Numerics.Tensors;
using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Floats in memory of the process.</summary>
internal sealed class HostMemory : IArenaMemory
{
    private const int PartLength = 1 << 26;

    private readonly NativeBuffer _buffer;
    private readonly long _length;

    internal HostMemory(long length)
    {
        _length = length;
        _buffer = new NativeBuffer(checked(length * sizeof(float)));
    }

    public OrtMemoryInfo Info => OrtMemoryInfo.DefaultInstance;

    public nint Address => _buffer.Address;

    public void Read(long start, Span<float> values) => _buffer.Span<float>(start, values.Length).CopyTo(values);

    public void Write(long start, ReadOnlySpan<float> values) => values.CopyTo(_buffer.Span<float>(start, values.Length));

    public void Clear() => _buffer.Clear();

    public double SumOfSquares()
    {
        double sum = 0;
        for (long start = 0; start < _length; start += PartLength)
        {
            sum += TensorPrimitives.SumOfSquares<float>(_buffer.Span<float>(start, Math.Min(PartLength, _length - start)));
        }

        return sum;
    }

    public void Dispose() => _buffer.Dispose();
}
