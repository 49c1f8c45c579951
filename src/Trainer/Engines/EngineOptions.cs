using OrtQLoRA.CustomOps;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>How sessions run; the defaults are for training on the CPU.</summary>
public sealed record EngineOptions
{
    /// <summary>Where sessions run.</summary>
    public ExecutionDevice Device { get; init; }

    /// <summary>Whether fp32 products on a GPU may round their operands to TF32, 10 bits of mantissa, for speed.</summary>
    public bool UseTf32 { get; init; }

    /// <summary>
    /// Whether training steps are recorded as CUDA graphs and replayed, on a GPU: for small batches, whose kernels take less time
    /// than to start them. Batches must come in few shapes.
    /// </summary>
    public bool UseCudaGraphs { get; init; }

    /// <summary>Bytes that each session's arena may take on a GPU; 0 for no limit.</summary>
    public long DeviceMemoryLimit { get; init; }

    /// <summary>Threads within an operator; 0 takes one for each physical core.</summary>
    public int IntraOpThreads { get; init; }

    /// <summary>
    /// Accuracy level of <c>MatMulNBits</c> that ONNX Runtime fuses from DequantizeLinear and MatMul: 1 computes in float,
    /// 4 (ONNX Runtime's own default) rounds activations to int8.
    /// </summary>
    public int MatMulNBitsAccuracyLevel { get; init; } = 1;

    /// <summary>
    /// Whether ONNX Runtime keeps a second copy of frozen float weights in the layout its matrix product likes best.
    /// Without it each product packs its weight anew, which costs some 7 % at 512 rows.
    /// </summary>
    public bool PrepackWeights { get; init; } = true;

    /// <summary>Prefix of the profile that ONNX Runtime writes of the training session (JSON trace); null for none.</summary>
    public string? ProfilePrefix { get; init; }

    /// <summary>The native operators, registered with each session; null if the graphs use standard operators only.</summary>
    public CustomOpLibrary? CustomOps { get; init; }

    /// <summary>Further entries of the session configuration, applied last.</summary>
    public IReadOnlyDictionary<string, string> SessionConfig { get; init; } = new Dictionary<string, string>();
}
