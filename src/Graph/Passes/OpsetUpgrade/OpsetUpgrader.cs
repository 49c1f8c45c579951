using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.OpsetUpgrade;

/// <summary>Applies the upgrade rules to nodes, version by version.</summary>
internal static class OpsetUpgrader
{
    /// <summary>The version that rules lead to. What changed later leaves graphs of this version valid.</summary>
    internal const long Target = 21;

    private const long Oldest = 7;
    private const long FirstIrVersionForTarget = 10;

    private static readonly ILookup<string, UpgradeRule> Rules = UpgradeTable.Rules.OrderBy(r => r.Version).ToLookup(r => r.OpType, StringComparer.Ordinal);

    /// <summary>Rewrites nodes written for one version so that they mean the same in a later one.</summary>
    /// <param name="nodes">The nodes, those of subgraphs included. Nodes that rules emit are not looked at again.</param>
    /// <param name="from">Version that the nodes are written for.</param>
    /// <param name="to">Version to bring them to: <paramref name="from"/>, or 21 or later.</param>
    /// <exception cref="UnsupportedOpException">The version is older than 7, or a node has no equal in the later version.</exception>
    internal static void Upgrade(IReadOnlyList<Node> nodes, long from, long to)
    {
        if (from >= to || from >= Target)
        {
            return;
        }

        if (from < Oldest)
        {
            throw new UnsupportedOpException(
                $"The model uses opset {from}; opsets {Oldest} and later are read. Convert it first, for example with onnx.version_converter.");
        }

        Dictionary<OnnxGraph, GraphBuilder> builders = [];
        foreach (Node node in nodes)
        {
            if (node.Graph is not OnnxGraph graph || node.Domain.Length > 0)
            {
                continue;
            }

            if (!builders.TryGetValue(graph, out GraphBuilder? builder))
            {
                builders[graph] = builder = new GraphBuilder(graph, to);
            }

            Upgrade(node, from, builder);
        }
    }

    /// <summary>Writes a version into a model's header, with a file format that allows it.</summary>
    internal static void Declare(OnnxModel model, long opset)
    {
        model.Opset = opset;
        if (opset >= Target)
        {
            model.IrVersion = Math.Max(model.IrVersion, FirstIrVersionForTarget);
        }
    }

    private static void Upgrade(Node node, long from, GraphBuilder builder)
    {
        Node? current = node;
        while (current is not null)
        {
            // A rule may turn the node into one of another operator, which has rules of its own from there on.
            UpgradeRule? rule = Rules[current.OpType].FirstOrDefault(r => r.Version > from);
            if (rule is null)
            {
                return;
            }

            builder.Before = current;
            current = rule.Rewrite(new UpgradeContext(current, builder, from, rule.Version));
            from = rule.Version;
        }
    }
}
