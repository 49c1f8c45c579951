using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>Follows a value back through layout and type changes to the constant that it is made of.</summary>
internal sealed class WeightTrace
{
    // Real chains have two to five nodes; a damaged file may hold a cycle.
    private const int LongestChain = 32;

    /// <summary>Metadata of a node that is one step of a weight's dequantization.</summary>
    public const string PartKey = "ortqlora.weight";

    private WeightTrace(Value root, ITensor content)
    {
        Root = root;
        Content = content;
    }

    /// <summary>The initializer or the Constant node's output.</summary>
    public Value Root { get; }

    /// <summary>Content of <see cref="Root"/>, or of the part that <see cref="Slice"/> names.</summary>
    public ITensor Content { get; private set; }

    /// <summary>The part of the root that the value is made of; null for all of it.</summary>
    public WeightSlice? Slice { get; private set; }

    /// <summary>The nodes in between, from the root on.</summary>
    public List<Node> Chain { get; } = [];

    /// <summary>Whether the chain swaps the two dimensions.</summary>
    public bool IsTransposed { get; private set; }

    /// <summary>In which form the constant lies in the model.</summary>
    public WeightStorage Storage { get; private set; }

    /// <summary>Whether the chain makes floating-point numbers of integers.</summary>
    public bool IsDequantized => Storage != WeightStorage.Dense;

    /// <summary>Whether the value is a floating-point constant, dequantized or not.</summary>
    public bool IsFloat => IsDequantized || Content.ElementType.IsFloatingPoint();

    /// <summary>Follows a value back; null if it is not constant.</summary>
    public static WeightTrace? Of(Value? value)
    {
        List<Node> chain = [];
        while (value is not null && chain.Count < LongestChain)
        {
            if (ConstantContent.DefaultOf(value) is { } content)
            {
                return Build(value, content, chain);
            }

            if (value.Producer is not { Domain: "" } node || SourceOf(node) is not { } source)
            {
                return null;
            }

            chain.Add(node);
            value = source;
        }

        return null;
    }

    /// <summary>The input that the node lets through, or null if it is no node of a chain.</summary>
    private static Value? SourceOf(Node node) => node.OpType switch
    {
        "Transpose" or "Cast" or "CastLike" or "Identity" or "DequantizeLinear" or "Slice" => node.InputOrNull(0),

        // The scale may stand on either side, the integers stand behind a Cast.
        "Mul" => Scaled(node.InputOrNull(0), node.InputOrNull(1)) ?? Scaled(node.InputOrNull(1), node.InputOrNull(0)),
        "Sub" => node.Metadata.ContainsKey(PartKey) || IsOfIntegers(node.InputOrNull(0)) ? node.InputOrNull(0) : null,
        _ => null,
    };

    private static Value? Scaled(Value? integers, Value? scale) => IsConstant(scale) && (IsOfIntegers(integers) || (integers?.Producer is { } sub && sub.Is("Sub") && IsOfIntegers(sub.InputOrNull(0)) && IsConstant(sub.InputOrNull(1)))) ? integers : null;

    private static bool IsOfIntegers(Value? value) =>
        value?.Producer is { } cast && cast.Is("Cast") && ((DataType)cast.GetInt("to", 0)).IsFloatingPoint()
        && ConstantContent.DefaultOf(cast.InputOrNull(0)) is { ElementType: DataType.Int8 or DataType.UInt8 or DataType.Int4 or DataType.UInt4 };

    private static bool IsConstant(Value? value) =>
        ConstantContent.DefaultOf(value) is not null || (value?.Producer is { } cast && cast.Is("Cast") && ConstantContent.DefaultOf(cast.InputOrNull(0)) is not null);

    private static WeightTrace? Build(Value root, ITensor content, List<Node> chain)
    {
        WeightTrace trace = new(root, content);
        for (int i = chain.Count - 1; i >= 0; i--)
        {
            trace.Chain.Add(chain[i]);
            if (!trace.Pass(chain[i]))
            {
                return null;
            }
        }

        // Integers that a Cast alone turns into numbers are no quantized weight.
        return trace.Storage == WeightStorage.Dense && trace.Chain.Exists(n => n.Is("Cast")) && !content.ElementType.IsFloatingPoint() ? null : trace;
    }

    private bool Pass(Node node)
    {
        switch (node.OpType)
        {
            case "Cast":
                return ((DataType)node.GetInt("to", 0)).IsFloatingPoint();
            case "DequantizeLinear":
                bool isFirst = !IsDequantized && ConstantContent.DefaultOf(node.InputOrNull(1)) is not null;
                Storage = WeightStorage.DequantizeLinear;
                return isFirst;
            case "Mul":
                isFirst = !IsDequantized;
                Storage = WeightStorage.CastAndScale;
                return isFirst;
            case "Transpose" when Content.Dims.Length == 2:
                IsTransposed ^= node.GetInts("perm") is not [0, 1];
                return true;
            case "Transpose":
                return node.GetInts("perm") is { } perm && perm.SequenceEqual(Enumerable.Range(0, perm.Length).Select(a => (long)a));
            case "Slice":
                return Cut(node);
            default:
                return true;
        }
    }

    // One range along one axis, in steps of 1, of a constant that is stored as it is.
    private bool Cut(Node node)
    {
        if (Slice is not null || IsTransposed || Content.ElementType.BitWidth() < 8
            || Number(node, 1) is not { } start || Number(node, 2) is not { } end
            || (node.InputOrNull(3) is not null ? Number(node, 3) : Content.Dims.Length == 1 ? 0 : null) is not { } axis
            || (node.InputOrNull(4) is not null && Number(node, 4) != 1))
        {
            return false;
        }

        int at = (int)(axis < 0 ? axis + Content.Dims.Length : axis);
        long size = Content.Dims[at];
        start = Math.Clamp(start < 0 ? start + size : start, 0, size);
        end = Math.Clamp(end < 0 ? end + size : end, start, size);
        Slice = new WeightSlice(at, start, end - start);
        Content = new SlicedTensor(Content, at, start, end - start);
        return true;
    }

    private static long? Number(Node node, int input) => ConstantContent.DefaultOf(node.InputOrNull(input)) is { ElementType: DataType.Int64 or DataType.Int32 } content && content.ElementCount() == 1
        ? content.ToInt64s()[0]
        : null;
}
