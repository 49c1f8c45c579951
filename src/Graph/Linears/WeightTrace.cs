using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>Follows a value back through layout and type changes to the constant that it is made of.</summary>
internal sealed class WeightTrace
{
    // Real chains have two or three nodes; a damaged file may hold a cycle.
    private const int LongestChain = 32;

    private WeightTrace(Value root, ITensor content)
    {
        Root = root;
        Content = content;
    }

    /// <summary>The initializer or the Constant node's output.</summary>
    public Value Root { get; }

    /// <summary>Content of <see cref="Root"/>.</summary>
    public ITensor Content { get; }

    /// <summary>The nodes in between, from the root on.</summary>
    public List<Node> Chain { get; } = [];

    /// <summary>Whether the chain swaps the two dimensions.</summary>
    public bool IsTransposed { get; private set; }

    /// <summary>Whether a DequantizeLinear is part of the chain.</summary>
    public bool IsDequantized { get; private set; }

    /// <summary>Whether the value is a floating-point constant, dequantized or not.</summary>
    public bool IsFloat => IsDequantized || Content.ElementType.IsFloatingPoint();

    /// <summary>Follows a value back; null if it is not constant.</summary>
    public static WeightTrace? Of(Value? value)
    {
        List<Node> chain = [];
        while (value is not null && chain.Count < LongestChain)
        {
            if (ConstantContent.Of(value) is { } content)
            {
                return Build(value, content, chain);
            }

            if (value.Producer is not { Domain: "" } node || node.OpType is not ("Transpose" or "Cast" or "CastLike" or "Identity" or "DequantizeLinear"))
            {
                return null;
            }

            chain.Add(node);
            value = node.InputOrNull(0);
        }

        return null;
    }

    private static WeightTrace? Build(Value root, ITensor content, List<Node> chain)
    {
        WeightTrace trace = new(root, content);
        for (int i = chain.Count - 1; i >= 0; i--)
        {
            Node node = chain[i];
            trace.Chain.Add(node);
            switch (node.OpType)
            {
                case "Cast" when !((DataType)node.GetInt("to", 0)).IsFloatingPoint():
                    return null;
                case "DequantizeLinear":
                    if (trace.IsDequantized || ConstantContent.Of(node.InputOrNull(1)) is null)
                    {
                        return null;
                    }

                    trace.IsDequantized = true;
                    break;
                case "Transpose" when content.Dims.Length == 2:
                    trace.IsTransposed ^= node.GetInts("perm") is not [0, 1];
                    break;
                case "Transpose" when node.GetInts("perm") is not { } perm || !perm.SequenceEqual(Enumerable.Range(0, perm.Length).Select(a => (long)a)):
                    return null;
                default:
                    break;
            }
        }

        return trace;
    }
}
