using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>Puts nodes behind a value without changing what the caller sees.</summary>
internal static class OutputNames
{
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
