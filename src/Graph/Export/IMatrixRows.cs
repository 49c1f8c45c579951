namespace OrtQLoRA.Graph.Export;

/// <summary>Rows of a matrix.</summary>
internal interface IMatrixRows
{
    /// <summary>Reads whole rows as fp32.</summary>
    void Read(long firstRow, Span<float> rows);
}
