namespace OrtQLoRA.CustomOps;

/// <summary>An operator of the native library.</summary>
/// <param name="Name">Operator type, for example <c>MatMulInt8</c>.</param>
/// <param name="Inputs">Names of the inputs in order; optional ones end with a question mark.</param>
/// <param name="Outputs">Names of the outputs in order.</param>
/// <param name="Summary">What it computes.</param>
public sealed record OpDescription(string Name, IReadOnlyList<string> Inputs, IReadOnlyList<string> Outputs, string Summary);
