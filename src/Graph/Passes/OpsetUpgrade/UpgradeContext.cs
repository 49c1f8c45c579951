using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.OpsetUpgrade;

/// <summary>What an upgrade rule sees, and the steps that many rules share.</summary>
internal sealed class UpgradeContext
{
    private readonly long _from;
    private readonly long _version;

    internal UpgradeContext(Node node, GraphBuilder builder, long from, long version)
    {
        Node = node;
        Builder = builder;
        _from = from;
        _version = version;
    }

    internal Node Node { get; }

    /// <summary>Emits nodes before the node.</summary>
    internal GraphBuilder Builder { get; }

    internal Value Input(int index) => Node.InputOrNull(index)
        ?? throw new GraphException($"{Node.Describe()} lacks its input {index}.");

    /// <summary>Sets an input, filling the places before it with inputs left out.</summary>
    internal void SetInput(int index, Value? value)
    {
        while (Node.Inputs.Count <= index)
        {
            Node.AddInput(null);
        }

        Node.SetInput(index, value);
    }

    /// <summary>Moves an attribute of integers to an input of type int64; nothing happens if it is left out.</summary>
    internal Node MoveToInput(string attribute, int input)
    {
        RequireOwn(attribute);
        if (Node.GetInts(attribute) is long[] values)
        {
            SetInput(input, Builder.Int64s(values));
            Node.RemoveAttribute(attribute);
        }

        return Node;
    }

    /// <summary>A scalar of the element type of the first input.</summary>
    internal Value ScalarLikeFirstInput(float value)
    {
        Value x = Input(0);
        return x.ElementType == DataType.Undefined
            ? Builder.Op("CastLike", [Builder.Scalar(value), x])
            : Builder.ScalarLike(x, value);
    }

    /// <summary>Puts a new node in place of this one, with its attributes and its outputs up to the last that is read.</summary>
    /// <returns>The new node.</returns>
    internal Node ReplaceBy(string opType, IReadOnlyList<Value?> inputs)
    {
        OnnxGraph graph = Node.OwningGraph;
        Node replacement = graph.AddNode(opType, inputs, Node.Name, before: Node);
        replacement.DocString = Node.DocString;
        foreach ((string key, string value) in Node.Metadata)
        {
            replacement.Metadata[key] = value;
        }

        foreach ((string name, NodeAttribute attribute) in Node.Attributes)
        {
            replacement.SetAttribute(name, attribute);
        }

        int count = 1 + Node.Outputs.Select((output, i) => output.IsUsed ? i : 0).DefaultIfEmpty(0).Max();
        Value?[] outputs = [.. Node.Outputs.Take(count).Select(output =>
            replacement.AddOutput(output.Name.Length > 0 ? graph.Names.Reserve(output.Name) : "", output.Type))];
        NodeReplacement.Replace(Node, outputs);
        return replacement;
    }

    /// <summary>Fails for an attribute whose value only the caller of a function knows.</summary>
    internal void RequireOwn(string attribute)
    {
        if (Node.Attributes.TryGetValue(attribute, out NodeAttribute? value) && value.ReferenceName is not null)
        {
            throw Refuse($"its attribute '{attribute}' is given by the caller of a function; inline functions first");
        }
    }

    /// <summary>The error for a node that has no equal in the later version.</summary>
    internal UnsupportedOpException Refuse(string reason) => new(
        $"{Node.Describe()} is written for opset {_from} and cannot be brought to opset {_version}: {reason}.");
}
