using System.Buffers;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Tensors of ours as tensors of the runtime's, in place: pinned until disposed, nothing is copied.</summary>
internal sealed unsafe class PinnedValues : IDisposable
{
    private readonly List<MemoryHandle> _pins = [];
    private readonly List<OrtValue> _values = [];

    internal PinnedValues(IEnumerable<DenseTensor> tensors)
    {
        try
        {
            foreach (DenseTensor tensor in tensors)
            {
                _values.Add(Wrap(tensor));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The tensors, in order.</summary>
    internal IReadOnlyList<OrtValue> Values => _values;

    public void Dispose()
    {
        _values.ForEach(v => v.Dispose());
        _pins.ForEach(p => p.Dispose());
        _values.Clear();
        _pins.Clear();
    }

    private OrtValue Wrap(DenseTensor tensor)
    {
        long[] dims = [.. tensor.Dims];
        if (tensor.ByteLength == 0)
        {
            // Pinned empty memory has no address, which the runtime refuses.
            return OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, (TensorElementType)tensor.ElementType, dims);
        }

        MemoryHandle pin = tensor.Data.Pin();
        _pins.Add(pin);
        return OrtValue.CreateTensorValueWithData(
            OrtMemoryInfo.DefaultInstance, (TensorElementType)tensor.ElementType, dims, (nint)pin.Pointer, tensor.ByteLength);
    }
}
