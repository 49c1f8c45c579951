using System.Globalization;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>Where sessions run: the processor, or one NVIDIA GPU.</summary>
public readonly record struct ExecutionDevice
{
    private const string CudaName = "cuda";

    private ExecutionDevice(bool isCuda, int index)
    {
        IsCuda = isCuda;
        Index = index;
    }

    /// <summary>The processor.</summary>
    public static ExecutionDevice Cpu => default;

    /// <summary>Whether the ONNX Runtime in use was built with the CUDA execution provider.</summary>
    public static bool HasCudaProvider => OrtEnv.Instance().GetAvailableProviders().Contains("CUDAExecutionProvider", StringComparer.Ordinal);

    /// <summary>Whether it is a GPU under ONNX Runtime's CUDA execution provider.</summary>
    public bool IsCuda { get; }

    /// <summary>Number of the GPU; 0 for the processor.</summary>
    public int Index { get; }

    /// <summary>A GPU.</summary>
    /// <param name="index">Its number among those that CUDA shows, from 0.</param>
    public static ExecutionDevice Cuda(int index = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        return new ExecutionDevice(true, index);
    }

    /// <summary>Reads <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</summary>
    /// <exception cref="ConfigurationException">It is none of these.</exception>
    public static ExecutionDevice Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        string[] parts = text.Trim().ToLowerInvariant().Split(':');
        return parts switch
        {
            ["cpu"] => Cpu,
            [CudaName] => Cuda(),
            [CudaName, string number] when int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int index) => Cuda(index),
            _ => throw new ConfigurationException($"'{text}' is no device; give cpu, cuda, or cuda:N for GPU number N."),
        };
    }

    /// <inheritdoc/>
    public override string ToString() => !IsCuda ? "cpu" : Index == 0 ? CudaName : string.Create(CultureInfo.InvariantCulture, $"{CudaName}:{Index}");
}
