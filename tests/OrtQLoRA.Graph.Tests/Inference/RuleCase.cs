using System.Globalization;
using System.Text.RegularExpressions;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.Inference;

/// <summary>
/// One operator call written as text. Inputs, attributes and outputs are separated by semicolons:
/// <c>float[batch, 3]</c> is a graph input, <c>int64{1, 2}</c> a constant vector, <c>int64(3)</c> a constant scalar,
/// <c>_</c> an input left out; attributes are <c>axis=1</c>, <c>alpha=0.5</c>, <c>perm=[1, 0]</c>, <c>mode=linear</c>.
/// Outputs are named <c>y0</c>, <c>y1</c> and so on, so that a dimension of its own prints as <c>y0#1</c>.
/// </summary>
internal sealed partial class RuleCase
{
    /// <summary>Sizes that the symbols of cases have when a case is run.</summary>
    internal static IReadOnlyDictionary<string, long> Sizes { get; } = new Dictionary<string, long>
    {
        ["batch"] = 2,
        ["sequence"] = 5,
        ["past"] = 3,
        ["n"] = 4,
        ["m"] = 6,
    };

    internal RuleCase(string operation, string inputs, string attributes, int outputs, long opset)
    {
        string[] name = operation.Split("::");
        Model = new OnnxModel(new OnnxGraph("case")) { IrVersion = 10, Opset = opset };
        if (name.Length > 1)
        {
            Model.OpsetImports[name[0]] = 1;
        }

        Value?[] values = [.. Split(inputs).Select(Input)];
        Node = Model.Graph.AddNode(name[^1], values, domain: name.Length > 1 ? name[0] : "");
        foreach (string attribute in Split(attributes))
        {
            string[] sides = attribute.Split('=', 2);
            Node.SetAttribute(sides[0], Attribute(sides[1]));
        }

        for (int i = 0; i < outputs; i++)
        {
            Value output = Node.AddOutput($"y{i}");
            Model.Graph.AddOutput(output);
        }
    }

    internal OnnxModel Model { get; }

    internal Node Node { get; }

    /// <summary>Infers and prints the types of the outputs.</summary>
    internal string Infer()
    {
        NodeInference.Infer(Node, Model.Opset);
        return string.Join("; ", Node.Outputs.Select(o => o.Type is null ? "?" : o.ToString()[(o.Name.Length + 2)..]));
    }

    /// <summary>Tensors of ones for all inputs (zeros for integers, which may be positions), the symbols being <see cref="Sizes"/>.</summary>
    internal Dictionary<string, ITensor> Feeds()
    {
        Dictionary<string, ITensor> feeds = [];
        foreach (Value input in Model.Graph.Inputs)
        {
            long[] dims = [.. input.Shape!.Select(d => Size(d) ?? throw new AssertFailedException($"'{d}' has no size"))];
            byte[] bytes = new byte[input.ElementType.ByteLength(dims.Aggregate(1L, (n, d) => n * d))];
            byte[] one = input.ElementType switch
            {
                DataType.Float => BitConverter.GetBytes(1f),
                DataType.Float16 => BitConverter.GetBytes((Half)1),
                DataType.Double => BitConverter.GetBytes(1d),
                _ => [0],
            };
            for (int i = 0; i < bytes.Length; i++)
            {
                bytes[i] = one[i % one.Length];
            }

            feeds[input.Name] = new DenseTensor(input.ElementType, dims, bytes);
        }

        return feeds;
    }

    /// <summary>Random floats in [-1, 1) for all inputs (zeros for integers), the symbols being <see cref="Sizes"/>.</summary>
    internal Dictionary<string, ITensor> RandomFeeds(int seed)
    {
        Random random = new(seed);
        Dictionary<string, ITensor> feeds = Feeds();
        foreach ((string name, ITensor tensor) in feeds.Where(f => f.Value.ElementType == DataType.Float).ToArray())
        {
            float[] values = [.. Enumerable.Range(0, (int)tensor.ElementCount()).Select(_ => (random.NextSingle() * 2) - 1)];
            feeds[name] = DenseTensor.Of(tensor.Dims, values);
        }

        return feeds;
    }

    /// <summary>Number of a dimension, the symbols being <see cref="Sizes"/>; null if it is not decided.</summary>
    internal static long? Size(Dimension dimension) =>
        SymbolicExpression.From(dimension)?.Evaluate(symbol => Sizes.TryGetValue(symbol, out long size) ? size : null);

    private static string[] Split(string list) => list.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    private static NodeAttribute Attribute(string text)
    {
        if (text[0] == '[')
        {
            string[] items = text[1..^1].Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
            return items.Any(i => i.Contains('.', StringComparison.Ordinal))
                ? Array.ConvertAll(items, i => float.Parse(i, CultureInfo.InvariantCulture))
                : Array.ConvertAll(items, i => long.Parse(i, CultureInfo.InvariantCulture));
        }

        Match tensor = TensorPattern().Match(text);
        return tensor.Success ? NodeAttribute.Of(Constant(tensor))
            : long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number) ? number
            : float.TryParse(text, CultureInfo.InvariantCulture, out float real) ? real
            : Enum.TryParse(text, ignoreCase: true, out DataType type) ? (long)type
            : text;
    }

    private static DenseTensor Constant(Match match)
    {
        string[] items = match.Groups["items"].Value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        long[] dims = match.Groups["open"].Value == "(" ? [] : [items.Length];
        return Enum.Parse<DataType>(match.Groups["type"].Value, ignoreCase: true) switch
        {
            DataType.Int64 => DenseTensor.Of(dims, Array.ConvertAll(items, i => long.Parse(i, CultureInfo.InvariantCulture))),
            DataType.Int32 => DenseTensor.Of(dims, Array.ConvertAll(items, i => int.Parse(i, CultureInfo.InvariantCulture))),
            DataType.UInt8 => DenseTensor.Of(dims, Array.ConvertAll(items, i => byte.Parse(i, CultureInfo.InvariantCulture))),
            DataType.Bool => DenseTensor.Of(dims, Array.ConvertAll(items, bool.Parse)),
            _ => DenseTensor.Of(dims, Array.ConvertAll(items, i => float.Parse(i, CultureInfo.InvariantCulture))),
        };
    }

    private Value? Input(string text, int index)
    {
        if (text == "_")
        {
            return null;
        }

        string name = $"x{index}";
        Match constant = TensorPattern().Match(text);
        if (constant.Success)
        {
            return Model.Graph.AddInitializer(name, Constant(constant));
        }

        Match type = TypePattern().Match(text);
        Assert.IsTrue(type.Success, $"'{text}' is no input");
        string[] dims = type.Groups["dims"].Value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        Shape? shape = type.Groups["dims"].Value == "..." ? null
            : new Shape(dims.Select(d => d == "?" ? Dimension.Unknown : long.TryParse(d, out long number) ? Dimension.Of(number) : Dimension.Of(d)));
        return Model.Graph.AddInput(name, Enum.Parse<DataType>(type.Groups["type"].Value, ignoreCase: true), shape);
    }

    [GeneratedRegex(@"^(?<type>\w+)\[(?<dims>.*)\]$")]
    private static partial Regex TypePattern();

    [GeneratedRegex(@"^(?<type>\w+)(?<open>[{(])(?<items>.*)[})]$")]
    private static partial Regex TensorPattern();
}
