using System.Collections.Immutable;
using System.Globalization;
using System.Text;

namespace OrtQLoRA.Graph.IR;

/// <summary>Text of names, types, tensors and attributes, short and free of control characters.</summary>
internal static class ValueText
{
    private const int MaxElements = 8;
    private const int MaxItems = 32;
    private const int MaxCharacters = 200;

    /// <summary>A name, in quotes if it holds more than the usual characters.</summary>
    public static string Name(string name) =>
        name.Length > 0 && name.All(c => char.IsAsciiLetterOrDigit(c) || "_./:-*+@".Contains(c, StringComparison.Ordinal)) ? name : $"\"{Escaped(name)}\"";

    /// <summary>A value's name with its type, if that is known.</summary>
    public static string Typed(Value value) => value.Name.Length == 0 ? "_"
        : value.Type is null ? Name(value.Name)
        : $"{Name(value.Name)}: {Type(value.Type)}";

    /// <summary>A string in quotes, cut if it is long.</summary>
    public static string Quoted(string text) => text.Length <= MaxCharacters
        ? $"\"{Escaped(text)}\""
        : string.Create(CultureInfo.InvariantCulture, $"\"{Escaped(text[..MaxCharacters])}...\" ({text.Length} characters)");

    /// <summary>A string with backslash escapes for quotes and control characters.</summary>
    public static string Escaped(string text)
    {
        if (!text.Any(c => c is '"' or '\\' || char.IsControl(c) || char.IsSurrogate(c)))
        {
            return text;
        }

        StringBuilder escaped = new();
        foreach (char c in text)
        {
            _ = c switch
            {
                '"' or '\\' => escaped.Append('\\').Append(c),
                '\n' => escaped.Append("\\n"),
                _ when char.IsControl(c) || char.IsSurrogate(c) => escaped.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"),
                _ => escaped.Append(c),
            };
        }

        return escaped.ToString();
    }

    /// <summary>A tensor's type and shape, and its elements if they are few.</summary>
    public static string Tensor(ITensor tensor)
    {
        string type = $"{tensor.ElementType.OnnxName()}[{string.Join(", ", tensor.Dims.Select(d => d.ToString(CultureInfo.InvariantCulture)))}]";
        return tensor.ElementCount() <= MaxElements && Elements(tensor) is { } elements ? $"{type} {{{string.Join(", ", elements)}}}" : type;
    }

    /// <summary>An attribute's value; subgraphs are left out.</summary>
    public static string Attribute(NodeAttribute attribute)
    {
        if (attribute.ReferenceName is { } reference)
        {
            return $"@{Name(reference)}";
        }

        return attribute.Kind switch
        {
            AttributeKind.Int => attribute.AsInt().ToString(CultureInfo.InvariantCulture),
            AttributeKind.Float => Real(attribute.AsFloat()),
            AttributeKind.String => Quoted(attribute.AsString()),
            AttributeKind.Ints => List(attribute.AsInts(), i => i.ToString(CultureInfo.InvariantCulture)),
            AttributeKind.Floats => List(attribute.AsFloats(), Real),
            AttributeKind.Strings => List(attribute.AsStrings(), s => Quoted(Encoding.UTF8.GetString(s.Span))),
            AttributeKind.Tensor => Tensor(attribute.AsTensor()),
            AttributeKind.Tensors => List(attribute.AsTensors(), Tensor),
            AttributeKind.Type => Type(attribute.AsType()),
            AttributeKind.Types => List(attribute.AsTypes(), Type),
            _ => $"({attribute.Kind.ToString().ToLowerInvariant()})",
        };
    }

    private static string Type(OnnxType type) => type switch
    {
        OnnxType.Tensor t => Shaped(t.ElementType, t.Shape),
        OnnxType.SparseTensor t => $"sparse({Shaped(t.ElementType, t.Shape)})",
        OnnxType.Sequence s => $"sequence({Inner(s.Element)})",
        OnnxType.Optional o => $"optional({Inner(o.Element)})",
        OnnxType.Map m => $"map({m.Key.OnnxName()}, {Inner(m.Value)})",
        _ => "opaque",
    };

    private static string Inner(OnnxType? type) => type is null ? "?" : Type(type);

    private static string Shaped(DataType type, Shape? shape) =>
        $"{type.OnnxName()}[{(shape is null ? "..." : string.Join(", ", shape.Select(d => d.Symbol is { } symbol ? Name(symbol) : d.ToString())))}]";

    private static string List<T>(ImmutableArray<T> items, Func<T, string> text) =>
        $"[{string.Join(", ", items.Take(MaxItems).Select(text))}{(items.Length > MaxItems ? string.Create(CultureInfo.InvariantCulture, $", ... {items.Length} in all") : "")}]";

    private static IEnumerable<string>? Elements(ITensor tensor) => tensor.ElementType switch
    {
        DataType.String => ((StringTensor)tensor).Values.Select(s => Quoted(Encoding.UTF8.GetString(s.Span))),
        DataType.Float or DataType.Float16 or DataType.BFloat16 => tensor.ToFloats().Select(Real),
        DataType.Double => tensor.ToArray<double>().Select(v => v.ToString(CultureInfo.InvariantCulture)),
        DataType.UInt64 => tensor.ToArray<ulong>().Select(v => v.ToString(CultureInfo.InvariantCulture)),
        DataType.Bool => tensor.ToBytes().Select(v => v == 0 ? "false" : "true"),
        _ when tensor.ElementType.IsInteger() => tensor.ToInt64s().Select(v => v.ToString(CultureInfo.InvariantCulture)),
        _ => null,
    };

    private static string Real(float value) => value.ToString(CultureInfo.InvariantCulture);
}
