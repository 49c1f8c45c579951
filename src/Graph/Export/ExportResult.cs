using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Export;

/// <summary>What an export wrote.</summary>
public sealed record ExportResult
{
    /// <summary>The file or folder that was asked for.</summary>
    public required string Output { get; init; }

    /// <summary>The ONNX model, if one was written.</summary>
    public string? Model { get; init; }

    /// <summary>The first <c>.onnx_adapter</c> file, if one was written.</summary>
    public string? OnnxAdapter => OnnxAdapters.Count > 0 ? OnnxAdapters[0] : null;

    /// <summary>The <c>.onnx_adapter</c> files, in the order of the adapters; empty if none was written.</summary>
    public IReadOnlyList<string> OnnxAdapters { get; init; } = [];

    /// <summary>Error of each int8 weight against the weight that was trained; null if none was made.</summary>
    public QuantizationReport? Quantization { get; init; }

    /// <summary>What the reader of the result should know, for example what a server will ignore.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];
}
