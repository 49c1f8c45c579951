using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Export;

/// <summary>One change of a weight: a low-rank term, or a function of the whole matrix; exactly one of them is set.</summary>
/// <param name="LowRank">Added to the weight.</param>
/// <param name="Transform">Gives the new matrix.</param>
internal sealed record WeightChange(LowRankFactors? LowRank, Func<Matrix, Matrix>? Transform);
