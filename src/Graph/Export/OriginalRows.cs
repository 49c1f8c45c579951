using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Export;

/// <summary>Rows of a float initializer.</summary>
internal sealed class OriginalRows : IMatrixRows
{
    private readonly ITensor _content;

    public OriginalRows(ITensor content)
    {
        _content = content;
    }

    public void Read(long firstRow, Span<float> rows) => _content.ReadFloats(firstRow * _content.Dims[1], rows);
}
