using System.Globalization;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes.Decomposition;

/// <summary>A model of one fused node, with what it is fed.</summary>
public sealed class FusedCall
{
    private readonly List<string> _arguments = [];
    private readonly List<(string Name, NodeAttribute Value)> _attributes = [];
    private readonly string _name;
    private readonly string _operator;
    private readonly Random _random = new(17);

    /// <summary>Starts a call.</summary>
    /// <param name="name">What the case is about.</param>
    /// <param name="op">Operator as in <see cref="GraphText.Line"/>: <c>com.microsoft::Gelu</c>.</param>
    /// <param name="opset">Opset of the model.</param>
    public FusedCall(string name, string op, long opset = 21)
    {
        _name = name;
        _operator = op;
        Model = GraphText.Model(opset);
        Model.OpsetImports["com.microsoft"] = 1;
    }

    /// <summary>The model; complete once the call is added.</summary>
    public OnnxModel Model { get; }

    /// <summary>A tensor for each input.</summary>
    public Dictionary<string, ITensor> Feeds { get; } = [];

    /// <summary>Largest relative distance that rounding may make.</summary>
    public double Tolerance { get; private set; } = 2e-6;

    /// <summary>A float input; its shape's symbols are given as <c>batch=2,length=5,32</c>.</summary>
    public FusedCall Float(string name, string shape) => Feed(name, shape, dims => DenseTensor.Of(dims, Numbers(dims)));

    /// <summary>An input of integers.</summary>
    public FusedCall Int32(string name, string shape, params int[] values) => Feed(name, shape, dims => DenseTensor.Of(dims, values));

    /// <summary>An input of integers.</summary>
    public FusedCall Int64(string name, string shape, params long[] values) => Feed(name, shape, dims => DenseTensor.Of(dims, values));

    /// <summary>An input of truth values.</summary>
    public FusedCall Bool(string name, string shape, params bool[] values) => Feed(name, shape, dims => DenseTensor.Of(dims, values));

    /// <summary>A float initializer.</summary>
    public FusedCall Weight(string name, params long[] dims) => Constant(name, DenseTensor.Of(dims, Numbers(dims)));

    /// <summary>An initializer of random bytes.</summary>
    public FusedCall Bytes(string name, params long[] dims)
    {
        byte[] bytes = new byte[dims.Aggregate(1L, (n, d) => n * d)];
        _random.NextBytes(bytes);
        return Constant(name, new DenseTensor(DataType.UInt8, dims, bytes));
    }

    /// <summary>An initializer of given content.</summary>
    public FusedCall Constant(string name, ITensor content)
    {
        Model.Graph.AddInitializer(name, content);
        _arguments.Add(name);
        return this;
    }

    /// <summary>Inputs that are left out.</summary>
    public FusedCall Skip(int count = 1)
    {
        _arguments.AddRange(Enumerable.Repeat("_", count));
        return this;
    }

    /// <summary>An attribute.</summary>
    public FusedCall With(string name, NodeAttribute value)
    {
        _attributes.Add((name, value));
        return this;
    }

    /// <summary>Allows more rounding.</summary>
    public FusedCall Within(double tolerance)
    {
        Tolerance = tolerance;
        return this;
    }

    /// <summary>Adds the node; <c>_</c> leaves an output out.</summary>
    public FusedCall Making(string outputs)
    {
        Model.Graph.Line($"{outputs} = {_operator}({string.Join(", ", _arguments)})", [.. _attributes]);
        Model.Graph.Outputs([.. outputs.Split(',', StringSplitOptions.TrimEntries).Where(o => o != "_")]);
        return this;
    }

    /// <inheritdoc/>
    public override string ToString() => $"{_operator}: {_name}";

    private FusedCall Feed(string name, string shape, Func<long[], DenseTensor> content)
    {
        string[] parts = shape.Split(',', StringSplitOptions.TrimEntries);
        Dimension[] dims = [.. parts.Select(p => p.Split('=') is [var symbol, _] ? Dimension.Of(symbol) : Dimension.Of(long.Parse(p, CultureInfo.InvariantCulture)))];
        long[] sizes = [.. parts.Select(p => long.Parse(p.Split('=')[^1], CultureInfo.InvariantCulture))];
        DenseTensor tensor = content(sizes);
        Model.Graph.Input(name, tensor.ElementType, dims);
        Feeds[name] = tensor;
        _arguments.Add(name);
        return this;
    }

    private float[] Numbers(long[] dims)
    {
        float[] values = new float[dims.Aggregate(1L, (n, d) => n * d)];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (_random.NextSingle() * 2) - 1;
        }

        return values;
    }
}
