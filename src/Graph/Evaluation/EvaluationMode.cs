namespace OrtQLoRA.Graph.Evaluation;

/// <summary>How the reference evaluator rounds floating-point results.</summary>
public enum EvaluationMode
{
    /// <summary>
    /// Every floating-point value is carried in float64, whatever its declared type; conversions between
    /// floating-point types change only the declared type. For checks by finite differences.
    /// </summary>
    Exact,

    /// <summary>
    /// Every result is rounded to its declared type after each node, so that a folded constant is what the
    /// runtime would have computed.
    /// </summary>
    Typed,
}
