using System.Numerics.Tensors;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>
/// One kind of tensor (values, gradients, or an optimizer state) for all parameters of a group: one block of memory, seen
/// as a whole by the optimizer session and parameter by parameter by the training session.
/// </summary>
internal sealed class TensorArena : IDisposable
{
    private const int ChunkLength = 1 << 26;

    private readonly NativeBuffer _buffer;
    private readonly Dictionary<string, (ArenaSlot Slot, OrtValue View)> _views = new(StringComparer.Ordinal);

    internal TensorArena(ArenaGroup group)
    {
        Length = group.Length;
        _buffer = new NativeBuffer(checked(group.Length * sizeof(float)));
        Whole = View(0, [group.Length]);
        foreach (ArenaSlot slot in group.Slots)
        {
            _views[slot.Parameter.Name] = (slot, View(slot.Offset, [.. slot.Parameter.InitialValue.Dims]));
        }
    }

    /// <summary>Number of elements, padding included.</summary>
    internal long Length { get; }

    /// <summary>The whole block, float [n].</summary>
    internal OrtValue Whole { get; }

    /// <summary>One parameter's part, in the parameter's shape.</summary>
    internal OrtValue this[string parameter] => _views[parameter].View;

    /// <summary>Copies a parameter's part.</summary>
    internal DenseTensor Read(string parameter)
    {
        (ArenaSlot slot, _) = _views[parameter];
        return DenseTensor.Of(slot.Parameter.InitialValue.Dims, (ReadOnlySpan<float>)_buffer.Span<float>(slot.Offset, slot.Parameter.ElementCount));
    }

    /// <summary>Overwrites a parameter's part.</summary>
    internal void Write(string parameter, ITensor value)
    {
        (ArenaSlot slot, _) = _views[parameter];
        for (long start = 0; start < slot.Parameter.ElementCount; start += ChunkLength)
        {
            long length = Math.Min(ChunkLength, slot.Parameter.ElementCount - start);
            value.ReadFloats(start, _buffer.Span<float>(slot.Offset + start, length));
        }
    }

    internal void Clear() => _buffer.Clear();

    /// <summary>Sum of squares of all elements; not finite if one of them is not.</summary>
    internal double SumOfSquares()
    {
        double sum = 0;
        for (long start = 0; start < Length; start += ChunkLength)
        {
            sum += TensorPrimitives.SumOfSquares<float>(_buffer.Span<float>(start, Math.Min(ChunkLength, Length - start)));
        }

        return sum;
    }

    public void Dispose()
    {
        Whole.Dispose();
        foreach ((_, OrtValue view) in _views.Values)
        {
            view.Dispose();
        }

        _buffer.Dispose();
    }

    private OrtValue View(long offset, long[] dims)
    {
        long length = dims.Aggregate(1L, (n, d) => n * d);
        return OrtValue.CreateTensorValueWithData(
            OrtMemoryInfo.DefaultInstance,
            TensorElementType.Float,
            dims,
            _buffer.Address + checked((nint)(offset * sizeof(float))),
            length * sizeof(float));
    }
}
