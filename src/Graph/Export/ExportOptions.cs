using OrtQLoRA.Graph.Export.Layout;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Export;

/// <summary>In which form an export is written, and where to.</summary>
public sealed class ExportOptions
{
    /// <summary>What to write.</summary>
    public required ExportKind Kind { get; init; }

    /// <summary>
    /// For ONNX models a file ending in <c>.onnx</c>, or a folder that gets the model under its own name and the
    /// configuration and tokenizer files that lie beside it. For an adapter a file ending in <c>.onnx_adapter</c>, with the
    /// model beside it, or such a folder. For PEFT and EETQ a folder; for Triton the model repository.
    /// </summary>
    public required string Output { get; init; }

    /// <summary>
    /// Operators of int8 weights, in <see cref="ExportKind.Int8"/> and in an adapter's base. Null: <see cref="QuantizedForm.Qdq"/>
    /// in the former, floats in the latter.
    /// </summary>
    public QuantizedForm? Form { get; init; }

    /// <summary>Float, Float16 or BFloat16: how weights are stored. Null keeps each weight's own type.</summary>
    public DataType? Precision { get; init; }

    /// <summary>Where the weights of an ONNX model go.</summary>
    public ExternalDataMode ExternalData { get; init; }

    /// <summary>Size of a data file in <see cref="ExternalDataMode.Sharded"/>; 2 GB by default.</summary>
    public long ShardBytes { get; init; } = 2_000_000_000;

    /// <summary>Whether an ONNX model is written as a model repository of Triton Inference Server.</summary>
    public bool IsTriton { get; init; }

    /// <summary>Largest batch that Triton may form of several requests; 0 leaves batches to the caller.</summary>
    public int MaxBatchSize { get; init; }
}
