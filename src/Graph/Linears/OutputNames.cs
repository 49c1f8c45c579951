using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>Puts nodes behind a value without changing what the caller sees.</summary>
internal static class OutputNames
{
    /// <summary>
    /// Puts a function behind a value: everything that reads the value now reads what <paramref name="emit"/> computes of it,
    /// in as many nodes as it takes. If the value is a graph output, the result takes over its name.
    /// </summary>
    public static void Rewrite(Value value, Func<Value, Value> emit)
    {
        Use[] readers = [.. value.Uses];
        string name = value.Name;
        bool isOutput = value.IsGraphOutput;
        Value replacement = emit(value);
        foreach (Use use in readers)
        {
            use.Node.SetInput(use.Index, replacement);
        }

        if (isOutput)
        {
            value.Graph.ReplaceOutput(value, replacement);
            value.Name = value.Graph.Names.Reserve(name + "_base");
            replacement.Name = name;
        }
    }

    /// <summary>
    /// Makes everything that reads a value read another instead, except the nodes that compute it, which stand between the
    /// producers of the two. If the value is a graph output, the replacement takes over its name too.
    /// </summary>
    public static void Redirect(Value value, Value replacement)
    {
        string name = value.Name;
        bool isOutput = value.IsGraphOutput;
        HashSet<Node> computing = [];
        for (Node? node = replacement.Producer; node is not null && node != value.Producer; node = node.Previous)
        {
            computing.Add(node);
        }

        value.ReplaceAllUsesWith(replacement, except: computing);
        if (isOutput)
        {
            value.Name = value.Graph.Names.Reserve(name + "_base");
            replacement.Name = name;
        }
    }
}
