using System.Buffers;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>
/// The frozen weights of all sessions of an engine, once each. Mapped tensors are used where the file is mapped, tensors in
/// memory where they lie, pinned; others are copied once into native memory. The bytes that a session is created from hold only references; each session borrows
/// the memory, which must therefore outlive it.
/// </summary>
internal sealed unsafe class FrozenWeights : IDisposable
{
    /// <summary>
    /// Initializers up to this size stay in the model's bytes: shapes, axes and scales, which ONNX Runtime reads while it
    /// infers shapes.
    /// </summary>
    private const long InlineLimit = 4096;

    private const string BorrowConfig = "session.use_external_initializer_file_buffers_directly";

    private readonly Dictionary<ITensor, Block> _blocks = new(ReferenceEqualityComparer.Instance);
    private readonly List<NativeBuffer> _copies = [];
    private readonly List<MemoryHandle> _pins = [];

    /// <summary>Bytes of weights that had to be copied into native memory.</summary>
    internal long CopiedBytes => _copies.Sum(c => c.ByteLength);

    /// <summary>
    /// Serializes a model with references in place of its large initializers, which <see cref="Provide"/> then supplies.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="blocks">Names of the blocks that the session needs.</param>
    internal byte[] Serialize(OnnxModel model, out IReadOnlyCollection<string> blocks)
    {
        HashSet<string> used = [];
        byte[] bytes = OnnxModelWriter.ToBytes(model, value =>
        {
            if (value.Initializer!.ByteLength <= InlineLimit)
            {
                return null;
            }

            string name = BlockOf(value.Initializer).Name;
            used.Add(name);
            return name;
        });
        blocks = used;
        return bytes;
    }

    /// <summary>Lets a session to be created from <paramref name="options"/> find the named blocks.</summary>
    internal void Provide(SessionOptions options, IReadOnlyCollection<string> names)
    {
        if (names.Count == 0)
        {
            return;
        }

        options.AddSessionConfigEntry(BorrowConfig, "1");
        OrtNativeApi.AddExternalInitializersFromFilesInMemory(
            options, [.. _blocks.Values.Where(b => names.Contains(b.Name)).Select(b => (b.Name, b.Address, b.ByteLength))]);
    }

    public void Dispose()
    {
        foreach (NativeBuffer copy in _copies)
        {
            copy.Dispose();
        }

        foreach (MemoryHandle pin in _pins)
        {
            pin.Dispose();
        }

        _copies.Clear();
        _pins.Clear();
        _blocks.Clear();
    }

    private Block BlockOf(ITensor tensor)
    {
        if (!_blocks.TryGetValue(tensor, out Block? block))
        {
            block = new Block($"frozen.{_blocks.Count}", AddressOf(tensor), tensor.ByteLength);
            _blocks[tensor] = block;
        }

        return block;
    }

    private nint AddressOf(ITensor tensor)
    {
        int elementBytes = Math.Max(1, tensor.ElementType.BitWidth() / 8);
        if (tensor is ExternalTensor mapped && mapped.Address % elementBytes == 0)
        {
            return mapped.Address;
        }

        if (tensor is DenseTensor dense)
        {
            MemoryHandle pin = dense.Data.Pin();
            _pins.Add(pin);
            nint address = (nint)pin.Pointer;
            if (address % elementBytes == 0)
            {
                return address;
            }
        }

        NativeBuffer copy = new(tensor.ByteLength);
        _copies.Add(copy);
        const int part = 1 << 26;
        for (long start = 0; start < tensor.ByteLength; start += part)
        {
            tensor.Read(start, copy.Span<byte>(start, Math.Min(part, tensor.ByteLength - start)));
        }

        return copy.Address;
    }

    private sealed record Block(string Name, nint Address, long ByteLength);
}
