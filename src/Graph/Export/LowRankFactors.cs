namespace OrtQLoRA.Graph.Export;

/// <summary>The term <c>scaling * B A</c>.</summary>
/// <param name="A">[r, in].</param>
/// <param name="B">[out, r].</param>
/// <param name="Rank">r.</param>
/// <param name="Scaling">Multiplies the product.</param>
internal sealed record LowRankFactors(float[] A, float[] B, int Rank, double Scaling);
