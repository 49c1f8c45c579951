using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>Copies the nodes of a function's body or of a subgraph into a graph, under names that are free there.</summary>
internal sealed class BodyCopier
{
    private readonly Dictionary<Value, Value?> _values = [];
    private readonly string _nodePrefix;
    private readonly Func<NodeAttribute, NodeAttribute?> _resolve;

    /// <summary>Creates a copier for one body.</summary>
    /// <param name="nodePrefix">Put before the names of copied nodes.</param>
    /// <param name="resolve">Gives the attribute to use for one of the body, null to leave it out; attributes stay as they are if this is null.</param>
    internal BodyCopier(string nodePrefix, Func<NodeAttribute, NodeAttribute?>? resolve = null)
    {
        _nodePrefix = nodePrefix;
        _resolve = resolve ?? (attribute => attribute);
    }

    /// <summary>Copied values with the names that they have in the body.</summary>
    internal IEnumerable<(Value Copy, string Name)> Copies =>
        _values.Where(p => p.Value is not null && p.Key.Name.Length > 0 && p.Key.Graph != p.Value.Graph && !p.Key.IsGraphInput).Select(p => (p.Value!, p.Key.Name));

    /// <summary>Makes the copies read an outer value (null: none) where the body reads its input.</summary>
    internal void Bind(Value input, Value? outer) => _values[input] = outer;

    /// <summary>What stands for a value of the body; values around the body stand for themselves.</summary>
    internal Value? Map(Value? value) => value is null ? null : _values.TryGetValue(value, out Value? mapped) ? mapped : value;

    /// <summary>Copies initializers and nodes.</summary>
    /// <param name="body">The body.</param>
    /// <param name="target">Where to.</param>
    /// <param name="before">The copies stand before this node; null for the end.</param>
    /// <returns>The copied nodes; those of their subgraphs are not listed.</returns>
    internal IReadOnlyList<Node> Copy(OnnxGraph body, OnnxGraph target, Node? before)
    {
        foreach (Value initializer in body.Initializers.Where(i => !_values.ContainsKey(i)))
        {
            _values[initializer] = target.AddInitializer(target.Names.Reserve(initializer.Name), initializer.Initializer!);
        }

        return [.. body.Nodes.Select(node => Copy(node, target, before))];
    }

    private Node Copy(Node node, OnnxGraph target, Node? before)
    {
        string name = node.Name.Length > 0 ? node.Name : node.OpType;
        Node copy = target.AddNode(node.OpType, node.Inputs.Select(Map), target.NodeNames.Reserve(_nodePrefix + name), node.Domain, before);
        copy.Overload = node.Overload;
        copy.DocString = node.DocString;
        foreach ((string key, string value) in node.Metadata)
        {
            copy.Metadata[key] = value;
        }

        foreach ((string attributeName, NodeAttribute attribute) in node.Attributes)
        {
            if (_resolve(attribute) is NodeAttribute resolved)
            {
                copy.SetAttribute(attributeName, CopySubgraphs(resolved, target));
            }
        }

        foreach (Value output in node.Outputs)
        {
            Value made = copy.AddOutput(output.Name.Length == 0 ? "" : target.Names.Reserve(output.Name), output.Type);
            _values[output] = made;
        }

        return copy;
    }

    private NodeAttribute CopySubgraphs(NodeAttribute attribute, OnnxGraph parent) => attribute switch
    {
        { ReferenceName: not null } => attribute,
        { Kind: AttributeKind.Graph } => NodeAttribute.Of(CopySubgraph(attribute.AsGraph(), parent)),
        { Kind: AttributeKind.Graphs } => NodeAttribute.Of(attribute.AsGraphs().Select(g => CopySubgraph(g, parent)).ToImmutableArray()),
        _ => attribute,
    };

    private OnnxGraph CopySubgraph(OnnxGraph subgraph, OnnxGraph parent)
    {
        OnnxGraph copy = new(subgraph.Name, parent);
        foreach (Value input in subgraph.Inputs)
        {
            Value made = copy.AddInput(parent.Names.Reserve(input.Name), input.Type);
            _values[input] = made;
            if (input.Initializer is ITensor content)
            {
                copy.SetInitializer(made, content);
            }
        }

        Copy(subgraph, copy, before: null);
        foreach (Value output in subgraph.Outputs)
        {
            copy.AddOutput(Map(output)!);
        }

        return copy;
    }
}
