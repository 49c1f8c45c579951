using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes.Decomposition;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Takes fused operators of the main graph (ONNX Runtime's attention, norms and quantized products, ONNX's own Attention and
/// RotaryEmbedding) apart into operators that have gradients. The result computes the same up to rounding.
/// </summary>
/// <remarks>
/// Requires: opset 21 or later, inferred types and shapes, constant conditions folded. Ensures: initializers keep
/// their names; nodes that stand for a fused product keep its name, by which modules are named. A call that cannot be
/// taken apart stays; <see cref="Refused"/> says why.
/// </remarks>
public sealed class DecompositionPass : GraphPass
{
    private readonly List<string> _refused = [];

    /// <summary>The fused calls that the last run left whole, each with the reason.</summary>
    public IReadOnlyList<string> Refused => _refused;

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        _refused.Clear();
        OnnxGraph graph = model.Graph;
        DecompositionState state = new(graph, model.Opset);
        bool changed = false;
        foreach (Node node in graph.Nodes)
        {
            if (DecompositionTable.Find(node) is not { } rule)
            {
                continue;
            }

            if (rule.Refusal?.Invoke(node) is { } reason)
            {
                _refused.Add($"{node.Describe()} stays whole: {reason}.");
                continue;
            }

            TakeApart(node, rule, state);
            changed = true;
        }

        HandNamesOver(graph, state);
        return changed;
    }

    private static void TakeApart(Node node, DecompositionRule rule, DecompositionState state)
    {
        GraphBuilder builder = state.Builder;
        builder.Before = node;
        builder.Scope = node.Name.Length > 0 ? node.Name + "/" : "";
        Node? before = node.Previous;
        DecompositionContext context = new(node, state);
        IReadOnlyList<Value?> made = rule.Rewrite(context);
        List<Node> copies = [];
        for (Node? copy = node.Previous; copy != before; copy = copy!.Previous)
        {
            copies.Add(copy!);
        }

        string name = node.Name;
        NodeReplacement.ReplaceByCopies(node, copies, [.. node.Outputs.Select((o, i) => o.IsUsed ? made.ElementAtOrDefault(i) : null)]);
        if (context.StandIn is { } standIn)
        {
            standIn.Name = name;
        }
    }

    private static void HandNamesOver(OnnxGraph graph, DecompositionState state)
    {
        foreach ((Value original, Value own) in state.OtherForms)
        {
            if (!original.IsUsed && original.IsConstant)
            {
                string name = original.Name;
                graph.RemoveInitializer(original);
                own.Name = name;
            }
        }
    }
}
