using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>The start of one layer whose base changes.</summary>
/// <param name="A">[r, in].</param>
/// <param name="B">[out, r].</param>
/// <param name="Base">The changed weight [out, in].</param>
internal sealed record LoraStart(Matrix A, Matrix B, Matrix Base);
