using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>A tensor in memory of a GPU, at one address until disposed.</summary>
internal sealed class DeviceTensor : IDisposable
{
    private readonly CudaAllocator _device;
    private OrtValue? _scalar;
    private nint _address;

    internal DeviceTensor(CudaAllocator device, DataType type, IReadOnlyList<long> dims)
    {
        long bytes = checked(dims.Aggregate(1L, (n, d) => n * d) * (type.BitWidth() / 8));
        _device = device;
        _address = device.AllocateBytes(bytes);
        Value = OrtValue.CreateTensorValueWithData(device.Info, (TensorElementType)type, [.. dims], _address, bytes);
    }

    /// <summary>The tensor.</summary>
    internal OrtValue Value { get; }

    /// <summary>A float tensor of one element as one without axes, in the same memory.</summary>
    internal OrtValue Scalar() =>
        _scalar ??= OrtValue.CreateTensorValueWithData(_device.Info, TensorElementType.Float, [], _address, sizeof(float));

    public void Dispose()
    {
        _scalar?.Dispose();
        Value.Dispose();
        if (_address != 0)
        {
            _device.Free(_address);
            _address = 0;
        }
    }
}
