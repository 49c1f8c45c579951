using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>A gradient that is zero except for a contiguous part along one axis.</summary>
/// <param name="Part">The part.</param>
/// <param name="Axis">Axis, counted from the front.</param>
/// <param name="Before">Number of zeros before it.</param>
/// <param name="Length">Length of the part.</param>
/// <param name="After">Number of zeros after it.</param>
internal readonly record struct PaddedPart(Value Part, int Axis, long Before, long Length, long After);
