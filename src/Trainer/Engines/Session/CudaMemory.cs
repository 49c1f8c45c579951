using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Floats in memory of a GPU.</summary>
internal sealed unsafe class CudaMemory : IArenaMemory
{
    private readonly CudaAllocator _device;
    private readonly long _length;

    internal CudaMemory(CudaAllocator device, nint address, long length)
    {
        _device = device;
        _length = length;
        Address = address;
    }

    public OrtMemoryInfo Info => _device.Info;

    public nint Address { get; private set; }

    public void Read(long start, Span<float> values)
    {
        fixed (float* address = values)
        {
            using OrtValue device = View(start, values.Length);
            using OrtValue host = Host(address, values.Length);
            _device.Copy.Run(device, host);
        }
    }

    public void Write(long start, ReadOnlySpan<float> values)
    {
        fixed (float* address = values)
        {
            using OrtValue host = Host(address, values.Length);
            using OrtValue device = View(start, values.Length);
            _device.Copy.Run(host, device);
        }
    }

    public void Clear()
    {
        using OrtValue length = OrtValue.CreateTensorValueFromMemory([_length], [1]);
        using OrtValue all = View(0, _length);
        _device.Fill.Run(length, all);
    }

    public double SumOfSquares()
    {
        float[] sum = new float[1];
        using OrtValue all = View(0, _length);
        using OrtValue result = OrtValue.CreateTensorValueFromMemory(sum, []);
        _device.Norm.Run(all, result);
        return sum[0];
    }

    public void Dispose()
    {
        if (Address != 0)
        {
            _device.Free(Address);
            Address = 0;
        }
    }

    private OrtValue View(long start, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(checked(start + length), _length);
        return OrtValue.CreateTensorValueWithData(
            Info, TensorElementType.Float, [length], Address + checked((nint)(start * sizeof(float))), checked(length * sizeof(float)));
    }

    private static OrtValue Host(float* address, int length) => OrtValue.CreateTensorValueWithData(
        OrtMemoryInfo.DefaultInstance, TensorElementType.Float, [length], (nint)address, (long)length * sizeof(float));
}
