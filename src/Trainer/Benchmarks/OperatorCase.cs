using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>Something to compute, by several implementations; the first is what the others are held against.</summary>
/// <param name="Operators">The native operators that do it.</param>
/// <param name="Shape">Sizes, as text.</param>
/// <param name="Feed">The inputs of every implementation's model, by name.</param>
/// <param name="Contenders">The implementations.</param>
/// <param name="Operations">Multiplications and additions of its products; 0 if they are not what costs.</param>
internal sealed record OperatorCase(
    IReadOnlyList<string> Operators, string Shape, IReadOnlyDictionary<string, DenseTensor> Feed, IReadOnlyList<OperatorContender> Contenders, double Operations = 0);
