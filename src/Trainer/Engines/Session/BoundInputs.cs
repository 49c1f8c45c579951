using System.Buffers;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>The caller's tensors, pinned and bound for one run; nothing is copied.</summary>
internal sealed unsafe class BoundInputs : IDisposable
{
    private readonly List<MemoryHandle> _pins = [];
    private readonly List<OrtValue> _values = [];

    internal BoundInputs(OrtIoBinding binding, IReadOnlyList<string> names, IReadOnlyDictionary<string, DenseTensor> inputs)
    {
        string[] missing = [.. names.Where(n => !inputs.ContainsKey(n))];
        if (missing.Length > 0)
        {
            throw new EngineException(
                $"The batch lacks {string.Join(", ", missing.Select(n => $"'{n}'"))}; it must bring {string.Join(", ", names)}.", isUserError: true);
        }

        try
        {
            foreach (string name in names)
            {
                OrtValue value = Wrap(inputs[name]);
                _values.Add(value);
                binding.BindInput(name, value);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
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

    public void Dispose()
    {
        _values.ForEach(v => v.Dispose());
        _pins.ForEach(p => p.Dispose());
        _values.Clear();
        _pins.Clear();
    }
}
