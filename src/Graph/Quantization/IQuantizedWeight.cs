using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Quantization;

/// <summary>A weight [K, N] in a format with fewer bits.</summary>
public interface IQuantizedWeight
{
    /// <summary>Bytes that the weight takes with its scales.</summary>
    long ByteLength { get; }

    /// <summary>How far the dequantized weight is from the original.</summary>
    QuantizationError Error { get; }

    /// <summary>Adds the initializers and the standard operators that make the dequantized weight.</summary>
    /// <param name="builder">Emits into the main graph; its opset is at least 13.</param>
    /// <param name="stem">Name of the original initializer, from which the new names are derived.</param>
    /// <param name="type">Element type of the result.</param>
    /// <returns>The dequantized weight [N, K], one output feature a row as in PyTorch's Linear.</returns>
    Value Emit(GraphBuilder builder, string stem, DataType type);

    /// <summary>
    /// A weight equal to this one that holds no quantized values, but fetches them whenever they are read: what it emits takes
    /// memory only while it is written.
    /// </summary>
    /// <param name="again">Quantizes the original weight again; gives a weight equal to this one.</param>
    IQuantizedWeight Streamed(Func<IQuantizedWeight> again);

    /// <summary>Dequantizes rows of the weight.</summary>
    /// <param name="firstRow">First input feature.</param>
    /// <param name="rows">Receives whole rows [rows, N].</param>
    void DequantizeRows(int firstRow, Span<float> rows);

    /// <summary>Dequantizes columns of the weight.</summary>
    /// <param name="firstColumn">First output feature.</param>
    /// <param name="columns">Receives whole columns, one after the other [columns, K].</param>
    void DequantizeColumns(int firstColumn, Span<float> columns);
}
