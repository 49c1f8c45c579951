using System.Numerics.Tensors;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Quantization;

/// <summary>
/// A linear layer's float weight, seen as [K, N] = [in, out] whatever the orientation of the initializer. It is read in
/// parts, so that a model larger than memory can be quantized weight by weight.
/// </summary>
public sealed class WeightMatrix
{
    // About 1 MB of floats: large enough for sequential reads, small beside any weight that matters.
    private const int ChunkElements = 1 << 18;

    private readonly ITensor _content;

    /// <summary>Creates a view.</summary>
    /// <param name="name">Name of the initializer, for messages.</param>
    /// <param name="content">Floating-point content with two dimensions.</param>
    /// <param name="isOutByIn">Whether it is laid out [N, K] rather than [K, N].</param>
    /// <exception cref="GraphException">The content is no float matrix, or too large for one array.</exception>
    public WeightMatrix(string name, ITensor content, bool isOutByIn)
    {
        ArgumentNullException.ThrowIfNull(content);
        if (!content.ElementType.IsFloatingPoint() || content.Dims.Length != 2)
        {
            throw new GraphException($"Weight '{name}' is {content.ElementType.OnnxName()} [{string.Join(", ", content.Dims)}]; only float matrices can be quantized.");
        }

        if (content.ElementCount() > Array.MaxLength)
        {
            throw new GraphException($"Weight '{name}' [{string.Join(", ", content.Dims)}] has more than {Array.MaxLength} elements and cannot be quantized; leave the layer out.");
        }

        Name = name;
        _content = content;
        IsOutByIn = isOutByIn;
        (InFeatures, OutFeatures) = isOutByIn ? ((int)content.Dims[1], (int)content.Dims[0]) : ((int)content.Dims[0], (int)content.Dims[1]);
    }

    /// <summary>Name of the initializer.</summary>
    public string Name { get; }

    /// <summary>The content as the initializer holds it.</summary>
    internal ITensor Content => _content;

    /// <summary>Element type of the initializer.</summary>
    public DataType ElementType => _content.ElementType;

    /// <summary>Whether the initializer is laid out [N, K], one output feature a row.</summary>
    public bool IsOutByIn { get; }

    /// <summary>K.</summary>
    public int InFeatures { get; }

    /// <summary>N.</summary>
    public int OutFeatures { get; }

    /// <summary>Bytes of the initializer.</summary>
    public long ByteLength => _content.ByteLength;

    /// <summary>A site's weight.</summary>
    /// <exception cref="GraphException">The weight is no float matrix.</exception>
    public static WeightMatrix Of(LinearSite site)
    {
        ArgumentNullException.ThrowIfNull(site);
        return new WeightMatrix(site.Weight.Name, site.Content, site.IsOutByIn);
    }

    /// <summary>
    /// Calls back with consecutive blocks of whole rows as they are stored: rows of input features [K, N], or of output
    /// features where <see cref="IsOutByIn"/>. Values are checked.
    /// </summary>
    /// <param name="visit">Receives the index of the first row and the rows, as float.</param>
    /// <exception cref="ModelFormatException">A value is infinite or not a number; names the weight and the place.</exception>
    public void ForEachBlock(Action<int, ReadOnlySpan<float>> visit)
    {
        ArgumentNullException.ThrowIfNull(visit);
        (int rows, int width) = IsOutByIn ? (OutFeatures, InFeatures) : (InFeatures, OutFeatures);
        if (rows == 0 || width == 0)
        {
            return;
        }

        int blockRows = Math.Clamp(ChunkElements / width, 1, rows);
        float[] block = new float[blockRows * width];
        for (int row = 0; row < rows; row += blockRows)
        {
            Span<float> part = block.AsSpan(0, Math.Min(blockRows, rows - row) * width);
            _content.ReadFloats((long)row * width, part);
            RequireFinite(part, row, width);
            visit(row, part);
        }
    }

    private void RequireFinite(ReadOnlySpan<float> values, int firstRow, int width)
    {
        // The sum of magnitudes is finite only if every value is; overflow of the sum is settled by the search.
        if (float.IsFinite(TensorPrimitives.SumOfMagnitudes(values)))
        {
            return;
        }

        for (int i = 0; i < values.Length; i++)
        {
            if (!float.IsFinite(values[i]))
            {
                throw new ModelFormatException(
                    $"Weight '{Name}' holds {values[i]} at [{firstRow + (i / width)}, {i % width}] and cannot be quantized. Repair the model, or exclude the layer from quantization.");
            }
        }
    }
}
