using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.TestKit.Gradients;

/// <summary>One row of a gradient-check table: an operator call with inputs off its kinks.</summary>
/// <param name="OpType">Operator.</param>
/// <param name="What">What the row shows, unique among the operator's rows.</param>
/// <param name="Inputs">Inputs; null where one is left out.</param>
/// <param name="Attributes">Attributes.</param>
public sealed record GradientRow(
    string OpType, string What, IReadOnlyList<GradientInput?> Inputs, params (string Name, NodeAttribute Value)[] Attributes)
{
    /// <summary>Domain of the operator.</summary>
    public string Domain { get; init; } = "";

    /// <summary>Version of ONNX's own operators for which the row is written.</summary>
    public long Opset { get; init; } = 21;

    /// <summary>
    /// Further versions at which the row runs on ONNX Runtime: the first and last for which gradients are emitted. Rows
    /// that show one version of an operator have none.
    /// </summary>
    public IReadOnlyList<long> OtherOpsets { get; init; } = [18, 24];

    /// <summary>Number of outputs.</summary>
    public int Outputs { get; init; } = 1;

    /// <summary>Outputs that the loss does not use.</summary>
    public IReadOnlyList<int> UnusedOutputs { get; init; } = [];

    /// <summary>Whether the rule needs static shapes, so that the row is not run with unknown dimensions.</summary>
    public bool NeedsStaticShapes { get; init; }

    /// <summary>Why ONNX Runtime's CPU provider cannot run the row in float; null if it can.</summary>
    public string? NotOnOrt { get; init; }

    /// <summary>Changes the one-node model before the gradient is built, for rows that need more than one node.</summary>
    public Func<GraphBuilder, Value, Value>? Then { get; init; }

    /// <summary>Name of the row.</summary>
    public string Name => $"{(Domain.Length == 0 ? "" : Domain + ".")}{OpType}: {What}";

    /// <inheritdoc/>
    public override string ToString() => Name;
}
