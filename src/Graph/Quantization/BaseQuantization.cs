using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Quantization;

/// <summary>How a base is kept: in which format, and which of its linear layers.</summary>
/// <param name="Format">The format.</param>
/// <param name="IsQuantized">Whether a module's weight is kept in it; the others stay as the model has them.</param>
public sealed record BaseQuantization(IWeightFormat Format, Func<LinearModule, bool> IsQuantized);
