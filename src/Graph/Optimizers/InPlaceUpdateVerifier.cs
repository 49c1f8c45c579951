using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>
/// Checks that an output may be written into the memory of an input. The runtime may run nodes in any order that their
/// edges allow, so no node may read the input once the output is written: every reader must be an ancestor of the node
/// that makes the output, or be that node. If it is that node, it must work element by element, each element read
/// before it is written at the same place.
/// </summary>
public static class InPlaceUpdateVerifier
{
    /// <summary>Operators that read and write each position independently when input and output have the same shape.</summary>
    private static readonly HashSet<string> Elementwise =
        ["Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min", "Where", "Neg", "Abs", "Sqrt", "Reciprocal", "Clip", "Identity"];

    /// <summary>Checks that <paramref name="replacement"/> may be written into the memory of <paramref name="input"/>.</summary>
    /// <param name="input">A graph input that the caller binds to the same memory as the output.</param>
    /// <param name="replacement">The graph output that replaces it.</param>
    /// <exception cref="GraphException">A node could read the input after it is overwritten.</exception>
    public static void Verify(Value input, Value replacement)
    {
        Node writer = replacement.Producer
            ?? throw new GraphException($"'{replacement.Name}' cannot replace '{input.Name}' in place: no node makes it.");
        HashSet<Node>? ancestors = null;
        foreach (Use use in input.Uses)
        {
            if (use.Node == writer)
            {
                RequireElementwise(input, replacement, writer);
                continue;
            }

            ancestors ??= AncestorsOf(writer);
            if (!ancestors.Contains(use.Node))
            {
                throw new GraphException(
                    $"{use.Node.Describe()} reads '{input.Name}', and nothing makes it run before {writer.Describe()}, which overwrites it "
                    + $"with '{replacement.Name}'. Make the overwriting node depend on the reader, or let the reader use '{replacement.Name}'.");
            }
        }
    }

    private static void RequireElementwise(Value input, Value replacement, Node writer)
    {
        bool elementwise = writer.Domain.Length == 0 ? Elementwise.Contains(writer.OpType) : writer.Is("AdamW", OperatorDomains.OrtQLoRA);
        bool sameShape = input.Shape is null || replacement.Shape is null || input.Shape.Equals(replacement.Shape);
        if (!elementwise || !sameShape)
        {
            throw new GraphException(
                $"{writer.Describe()} reads '{input.Name}' and overwrites it with '{replacement.Name}' without working element by element "
                + $"({input} to {replacement}). End the update with an element-by-element operator.");
        }
    }

    private static HashSet<Node> AncestorsOf(Node node)
    {
        HashSet<Node> ancestors = [];
        Stack<Node> pending = new([node]);
        while (pending.TryPop(out Node? next))
        {
            foreach (Value? input in next.Inputs)
            {
                if (input?.Producer is Node producer && ancestors.Add(producer))
                {
                    pending.Push(producer);
                }
            }
        }

        return ancestors;
    }
}
