using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Export;

/// <summary>Rows of a float initializer, all axes behind the first taken together.</summary>
internal sealed class OriginalRows : IMatrixRows
{
    private readonly ITensor _content;
    private readonly long _width;

    public OriginalRows(ITensor content)
    {
        _content = content;
        _width = content.Dims.Skip(1).Aggregate(1L, (a, b) => a * b);
    }

    public void Read(long firstRow, Span<float> rows) => _content.ReadFloats(firstRow * _width, rows);
}
