using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>A gradient that is zero except for updates added at indices.</summary>
/// <param name="Onto">Adds the same updates onto another tensor of the shape instead.</param>
/// <param name="Axis">The axis along which elements were added, counted from the front; null if rows were.</param>
/// <param name="Updates">The updates.</param>
internal readonly record struct ScatteredGradient(Func<Value, Value> Onto, int? Axis, Value Updates);
