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
    private const int ChunkLength = 1 << 22;

    private readonly IArenaMemory _memory;
    private readonly Dictionary<string, (ArenaSlot Slot, OrtValue View)> _views = new(StringComparer.Ordinal);

    internal TensorArena(ArenaGroup group, IArenaAllocator allocator)
    {
        Length = group.Length;
        _memory = allocator.Allocate(group.Length);
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
        float[] values = new float[slot.Parameter.ElementCount];
        for (long start = 0; start < values.Length; start += ChunkLength)
        {
            int length = (int)Math.Min(ChunkLength, values.Length - start);
            _memory.Read(slot.Offset + start, values.AsSpan((int)start, length));
        }

        return DenseTensor.Of(slot.Parameter.InitialValue.Dims, (ReadOnlySpan<float>)values);
    }

    /// <summary>Overwrites a parameter's part.</summary>
    internal void Write(string parameter, ITensor value)
    {
        (ArenaSlot slot, _) = _views[parameter];
        float[] part = new float[Math.Min(ChunkLength, slot.Parameter.ElementCount)];
        for (long start = 0; start < slot.Parameter.ElementCount; start += ChunkLength)
        {
            Span<float> values = part.AsSpan(0, (int)Math.Min(ChunkLength, slot.Parameter.ElementCount - start));
            value.ReadFloats(start, values);
            _memory.Write(slot.Offset + start, values);
        }
    }

    internal void Clear() => _memory.Clear();

    /// <summary>Sum of squares of all elements; not finite if one of them is not.</summary>
    internal double SumOfSquares() => _memory.SumOfSquares();

    public void Dispose()
    {
        Whole.Dispose();
        foreach ((_, OrtValue view) in _views.Values)
        {
            view.Dispose();
        }

        _memory.Dispose();
    }

    private OrtValue View(long offset, long[] dims)
    {
        long length = dims.Aggregate(1L, (n, d) => n * d);
        return OrtValue.CreateTensorValueWithData(
            _memory.Info,
            TensorElementType.Float,
            dims,
            _memory.Address + checked((nint)(offset * sizeof(float))),
            length * sizeof(float));
    }
}
