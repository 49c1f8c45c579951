using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.Evaluation.OrtCases;

/// <summary>A model of one node with its inputs, to be computed by the evaluator and by ONNX Runtime.</summary>
public sealed record OrtCase(string OpType, IReadOnlyList<ReferenceTensor?> Inputs, params (string Name, NodeAttribute Value)[] Attributes)
{
    public int Outputs { get; init; } = 1;

    public long Opset { get; init; } = NodeRunner.Opset;

    public string Domain { get; init; } = "";

    /// <summary>Allowed difference of an element, relative to the greater of 1 and the expected element.</summary>
    public double Tolerance { get; init; } = 2e-6;

    /// <summary>What distinguishes the case from others of the operator.</summary>
    public string Note { get; init; } = "";

    public override string ToString() => string.Join(
        " ",
        new[] { $"{OpType}-{Opset}", Note, string.Join(" ", Inputs.Select(i => i?.ToString() ?? "-")), string.Join(" ", Attributes.Select(a => a.Name)) }
            .Where(s => s.Length > 0));
}
