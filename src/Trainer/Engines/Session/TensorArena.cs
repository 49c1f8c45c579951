using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>
/// One kind of tensor (values, gradients, or an optimizer state) for all parameters of a group: one block of memory, seen
/// as a whole by the optimizer session and parameter by parameter by the training session.
/// </summary>
internal sealed class TensorArena : IDisposable
{
    /// <summary>Bytes that are copied at a time, whole floats.</summary>
    private const int ChunkLength = 1 << 24;

    private static readonly OptimizerState Values = new("values");

    private readonly IArenaMemory _memory;
    private readonly OptimizerState _kind;
    private readonly Dictionary<string, (ArenaSlot Slot, OrtValue View)> _views = new(StringComparer.Ordinal);

    /// <summary>Allocates the block, zeroed.</summary>
    /// <param name="group">The group's layout.</param>
    /// <param name="allocator">Where it lies.</param>
    /// <param name="kind">Type and shape of an optimizer state; null for floats, one a parameter.</param>
    internal TensorArena(ArenaGroup group, IArenaAllocator allocator, OptimizerState? kind = null)
    {
        _kind = kind ?? Values;
        _memory = allocator.Allocate(Floats(_kind.ByteCount(group.Length)));
        Whole = View(0, _kind.ShapeOf(group.Length).ToArray());
        foreach (ArenaSlot slot in group.Slots)
        {
            _views[slot.Parameter.Name] = (slot, View(_kind.ByteCount(slot.Offset), [.. _kind.DimsFor(slot.Parameter.InitialValue.Dims)]));
        }
    }

    /// <summary>The whole block: float [n], or as its <see cref="OptimizerState"/> says.</summary>
    internal OrtValue Whole { get; }

    /// <summary>One parameter's part, in the parameter's shape; of a state with one element a row, as many as its rows.</summary>
    internal OrtValue this[string parameter] => _views[parameter].View;

    /// <summary>Copies a parameter's part.</summary>
    internal DenseTensor Read(string parameter)
    {
        (ArenaSlot slot, _) = _views[parameter];
        long first = _kind.ByteCount(slot.Offset) / sizeof(float);
        byte[] bytes = new byte[_kind.ByteCount(slot.Parameter.ElementCount)];
        float[] part = new float[Floats(Math.Min(ChunkLength, bytes.Length))];
        for (int start = 0; start < bytes.Length; start += ChunkLength)
        {
            // The last float of narrow elements reaches into the padding.
            Span<byte> chunk = bytes.AsSpan(start, Math.Min(ChunkLength, bytes.Length - start));
            Span<float> floats = part.AsSpan(0, (int)Floats(chunk.Length));
            _memory.Read(first + (start / sizeof(float)), floats);
            MemoryMarshal.AsBytes(floats)[..chunk.Length].CopyTo(chunk);
        }

        return new DenseTensor(_kind.Type, _kind.DimsFor(slot.Parameter.InitialValue.Dims), bytes);
    }

    /// <summary>Overwrites a parameter's part.</summary>
    internal void Write(string parameter, ITensor value)
    {
        (ArenaSlot slot, _) = _views[parameter];
        long first = _kind.ByteCount(slot.Offset) / sizeof(float);
        long length = _kind.ByteCount(slot.Parameter.ElementCount);
        float[] part = new float[Floats(Math.Min(ChunkLength, length))];
        for (long start = 0; start < length; start += ChunkLength)
        {
            int count = (int)Math.Min(ChunkLength, length - start);
            Span<float> floats = part.AsSpan(0, (int)Floats(count));
            if (_kind.Type == DataType.Float)
            {
                value.ReadFloats(start / sizeof(float), floats);
            }
            else
            {
                floats.Clear();
                value.Read(start, MemoryMarshal.AsBytes(floats)[..count]);
            }

            _memory.Write(first + (start / sizeof(float)), floats);
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

    private static long Floats(long bytes) => (bytes + sizeof(float) - 1) / sizeof(float);

    private OrtValue View(long offset, long[] dims) => OrtValue.CreateTensorValueWithData(
        _memory.Info,
        (TensorElementType)_kind.Type,
        dims,
        _memory.Address + checked((nint)offset),
        _kind.Type.ByteLength(dims.Aggregate(1L, (n, d) => n * d)));
}
