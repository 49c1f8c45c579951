using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.TestKit.Gradients;

/// <summary>
/// One input of an operator under a gradient check: shape and values, and whether the graph holds it as a constant.
/// Floating-point inputs are differentiated by; their element type is the check's.
/// </summary>
public sealed class GradientInput
{
    private readonly Func<Random, double[]>? _draw;
    private readonly ReferenceTensor? _fixed;

    private GradientInput(long[] dims, Func<Random, double[]>? draw, ReferenceTensor? fixedValue)
    {
        Dims = dims;
        _draw = draw;
        _fixed = fixedValue;
    }

    /// <summary>Dimensions.</summary>
    public long[] Dims { get; }

    /// <summary>Whether the graph holds the values as an initializer.</summary>
    public bool IsConstant { get; private init; }

    /// <summary>Whether the check differentiates by it: any floating-point input unless <see cref="NotDifferentiated"/>.</summary>
    public bool IsDifferentiated { get; private init; } = true;

    /// <summary>Whether the graph knows the dimensions even where those of other inputs are left open, as of weights.</summary>
    public bool HasKnownShape { get; private init; }

    /// <summary>Position of an earlier input that this one is the very same value as.</summary>
    public int? SameAs { get; private init; }

    /// <summary>Whether the values are floating-point.</summary>
    public bool IsFloat => _draw is not null;

    /// <summary>Values from the standard normal distribution.</summary>
    public static GradientInput Normal(params long[] dims) => Drawn(dims, Gaussian);

    /// <summary>Values between two bounds.</summary>
    public static GradientInput Between(double low, double high, params long[] dims) => Drawn(dims, r => low + ((high - low) * r.NextDouble()));

    /// <summary>Values at least 0.2 away from zero, of either sign.</summary>
    public static GradientInput OffZero(params long[] dims) => Drawn(dims, r =>
    {
        double x = Gaussian(r);
        return x + (x < 0 ? -0.2 : 0.2);
    });

    /// <summary>Values that differ from each other by at least 0.1, in random order, for operators that choose the largest.</summary>
    public static GradientInput Distinct(params long[] dims) => new(dims, r =>
    {
        int[] order = [.. Enumerable.Range(0, Count(dims))];
        r.Shuffle(order);
        return Array.ConvertAll(order, i => (i * 0.15) - (0.075 * order.Length) + (0.04 * r.NextDouble()));
    }, null);

    /// <summary>Given floating-point values.</summary>
    public static GradientInput Floats(long[] dims, params double[] values) => new(dims, _ => [.. values], null);

    /// <summary>Given int64 values, constant in the graph.</summary>
    public static GradientInput Ints(long[] dims, params long[] values) =>
        new(dims, null, ReferenceTensor.OfIntegers(DataType.Int64, dims, [.. values])) { IsConstant = true, IsDifferentiated = false };

    /// <summary>A vector of int64 values, constant in the graph.</summary>
    public static GradientInput Ints(params long[] values) => Ints([values.Length], values);

    /// <summary>Given values of an integer type or bool, constant in the graph.</summary>
    public static GradientInput Integers(DataType type, long[] dims, params long[] values) =>
        new(dims, null, ReferenceTensor.OfIntegers(type, dims, [.. values])) { IsConstant = true, IsDifferentiated = false };

    /// <summary>Given bool values, fed.</summary>
    public static GradientInput Bools(long[] dims, params bool[] values) =>
        new(dims, null, ReferenceTensor.OfBools(dims, values)) { IsDifferentiated = false };

    /// <summary>The same value as an earlier input.</summary>
    public static GradientInput Same(int index) => new([], null, null) { SameAs = index, IsDifferentiated = false };

    /// <summary>The same input, fed by the caller, so that the graph knows only its type.</summary>
    public GradientInput Fed() => new(Dims, _draw, _fixed) { IsDifferentiated = IsDifferentiated };

    /// <summary>The same input as an initializer of the graph.</summary>
    public GradientInput AsConstant() => new(Dims, _draw, _fixed) { IsConstant = true, IsDifferentiated = IsDifferentiated };

    /// <summary>The same input, of dimensions that the graph always knows.</summary>
    public GradientInput OfKnownShape() => new(Dims, _draw, _fixed) { IsConstant = IsConstant, IsDifferentiated = IsDifferentiated, HasKnownShape = true };

    /// <summary>The same input, not differentiated by.</summary>
    public GradientInput NotDifferentiated() => new(Dims, _draw, _fixed) { IsConstant = IsConstant, IsDifferentiated = false };

    internal ReferenceTensor Draw(Random random, DataType type) => _fixed ?? ReferenceTensor.OfFloats(type, Dims, _draw!(random));

    private static GradientInput Drawn(long[] dims, Func<Random, double> draw) =>
        new(dims, r => [.. Enumerable.Range(0, Count(dims)).Select(_ => draw(r))], null);

    private static int Count(long[] dims) => (int)dims.Aggregate(1L, (n, d) => n * d);

    private static double Gaussian(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
