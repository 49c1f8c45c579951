using System.Collections.Immutable;
using System.Runtime.InteropServices;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation;

/// <summary>
/// A tensor of the reference evaluator. Elements of every floating-point type are float64, of every integer type
/// and bool int64 (uint64 as the same bits), so that a kernel is written once; the declared type goes along.
/// </summary>
public sealed class ReferenceTensor
{
    private readonly ImmutableArray<double> _floats;
    private readonly ImmutableArray<long> _integers;
    private readonly ImmutableArray<ReadOnlyMemory<byte>> _strings;

    private ReferenceTensor(
        DataType elementType,
        ImmutableArray<long> dims,
        ImmutableArray<double> floats,
        ImmutableArray<long> integers,
        ImmutableArray<ReadOnlyMemory<byte>> strings)
    {
        ElementType = elementType;
        Dims = dims;
        _floats = floats;
        _integers = integers;
        _strings = strings;
        Count = Indexing.Count(dims);
        int given = floats.IsDefault ? integers.IsDefault ? strings.Length : integers.Length : floats.Length;
        if (given != Count)
        {
            throw new ArgumentException($"A tensor of shape [{string.Join(", ", dims)}] has {Count} elements, not {given}.");
        }
    }

    /// <summary>Declared element type.</summary>
    public DataType ElementType { get; }

    /// <summary>Dimensions, outermost first; empty for a scalar.</summary>
    public ImmutableArray<long> Dims { get; }

    /// <summary>Number of dimensions.</summary>
    public int Rank => Dims.Length;

    /// <summary>Number of elements.</summary>
    public int Count { get; }

    /// <summary>Whether the elements are floating-point.</summary>
    public bool IsFloatingPoint => !_floats.IsDefault;

    /// <summary>Whether the elements are integers or bools.</summary>
    public bool IsInteger => !_integers.IsDefault;

    /// <summary>Whether the elements are byte strings.</summary>
    public bool IsString => !_strings.IsDefault;

    /// <summary>Elements of a floating-point tensor, row-major.</summary>
    /// <exception cref="GraphException">The tensor is not floating-point.</exception>
    public ImmutableArray<double> Floats => IsFloatingPoint ? _floats : throw WrongKind("floating-point numbers");

    /// <summary>Elements of an integer or bool (0, 1) tensor, row-major.</summary>
    /// <exception cref="GraphException">The tensor holds neither.</exception>
    public ImmutableArray<long> Integers => IsInteger ? _integers : throw WrongKind("integers or bools");

    /// <summary>Elements of a string tensor, row-major.</summary>
    /// <exception cref="GraphException">The tensor holds no strings.</exception>
    public ImmutableArray<ReadOnlyMemory<byte>> Strings => IsString ? _strings : throw WrongKind("strings");

    /// <summary>A floating-point tensor; the values are kept as they are, not rounded to the declared type.</summary>
    /// <param name="elementType">float, double, float16 or bfloat16.</param>
    /// <param name="dims">Dimensions.</param>
    /// <param name="values">Elements, row-major; the tensor takes the array over.</param>
    public static ReferenceTensor OfFloats(DataType elementType, IEnumerable<long> dims, params double[] values) => elementType.IsFloatingPoint()
        ? new(elementType, [.. dims], ImmutableCollectionsMarshal.AsImmutableArray(values), default, default)
        : throw new ArgumentException($"{elementType.OnnxName()} is no floating-point type of the reference evaluator.", nameof(elementType));

    /// <summary>An integer or bool tensor; the values are wrapped into the range of the type.</summary>
    /// <param name="elementType">An integer type or bool.</param>
    /// <param name="dims">Dimensions.</param>
    /// <param name="values">Elements, row-major; the tensor takes the array over.</param>
    public static ReferenceTensor OfIntegers(DataType elementType, IEnumerable<long> dims, params long[] values)
    {
        if (!HoldsIntegers(elementType))
        {
            throw new ArgumentException($"{elementType.OnnxName()} is no integer type or bool.", nameof(elementType));
        }

        if (elementType is not DataType.Int64 and not DataType.UInt64)
        {
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = ElementRounding.Wrap(elementType, values[i]);
            }
        }

        return new(elementType, [.. dims], default, ImmutableCollectionsMarshal.AsImmutableArray(values), default);
    }

    /// <summary>A bool tensor.</summary>
    public static ReferenceTensor OfBools(IEnumerable<long> dims, params bool[] values) =>
        OfIntegers(DataType.Bool, dims, Array.ConvertAll(values, v => v ? 1L : 0L));

    /// <summary>A string tensor.</summary>
    public static ReferenceTensor OfStrings(IEnumerable<long> dims, ImmutableArray<ReadOnlyMemory<byte>> values) =>
        new(DataType.String, [.. dims], default, default, values);

    /// <summary>A float64 tensor.</summary>
    public static ReferenceTensor OfDoubles(IEnumerable<long> dims, params double[] values) => OfFloats(DataType.Double, dims, values);

    /// <summary>An int64 tensor of rank 1.</summary>
    public static ReferenceTensor Int64Vector(params long[] values) => OfIntegers(DataType.Int64, [values.Length], values);

    /// <summary>A tensor with every element the same number, in the kind of the element type.</summary>
    public static ReferenceTensor Filled(DataType elementType, IEnumerable<long> dims, double value)
    {
        ImmutableArray<long> shape = [.. dims];
        int count = Indexing.Count(shape);
        return elementType.IsFloatingPoint()
            ? OfFloats(elementType, shape, Enumerable.Repeat(value, count).ToArray())
            : OfIntegers(elementType, shape, Enumerable.Repeat((long)value, count).ToArray());
    }

    /// <summary>Reads a whole tensor.</summary>
    /// <exception cref="GraphException">The element type has no reference form (complex and 8-bit floats).</exception>
    public static ReferenceTensor From(ITensor tensor) => ReferenceTensorConversion.Read(tensor);

    /// <summary>The tensor in its declared type; floating-point values round to nearest even.</summary>
    public ITensor ToTensor() => ReferenceTensorConversion.Write(this);

    /// <summary>The only element of a floating-point or integer tensor, as a number.</summary>
    /// <exception cref="GraphException">There is not exactly one element.</exception>
    public double ToScalar() => Count == 1
        ? IsFloatingPoint ? _floats[0] : Integers[0]
        : throw new GraphException($"A tensor of shape [{string.Join(", ", Dims)}] was read as a scalar.");

    /// <summary>The only element of an integer or bool tensor.</summary>
    /// <exception cref="GraphException">There is not exactly one element, or it is not an integer.</exception>
    public long ToInteger() => Count == 1
        ? Integers[0]
        : throw new GraphException($"A tensor of shape [{string.Join(", ", Dims)}] was read as one integer.");

    /// <summary>The same elements under other dimensions with the same product.</summary>
    public ReferenceTensor Reshaped(IEnumerable<long> dims) => new(ElementType, [.. dims], _floats, _integers, _strings);

    /// <summary>
    /// A tensor of dimensions <paramref name="dims"/> whose element i is element <c>map[i]</c> of this one. All
    /// operators that only move data are such maps, see <see cref="Indexing"/>.
    /// </summary>
    public ReferenceTensor Take(IEnumerable<long> dims, int[] map) => new(
        ElementType,
        [.. dims],
        IsFloatingPoint ? Pick(_floats, map) : default,
        IsInteger ? Pick(_integers, map) : default,
        IsString ? Pick(_strings, map) : default);

    /// <summary>
    /// The elements of several tensors of one type one after the other, rank 1; with <see cref="Take"/> it
    /// expresses operators that mix the elements of several tensors.
    /// </summary>
    public static ReferenceTensor Chain(params IReadOnlyList<ReferenceTensor> parts) => new(
        parts[0].ElementType,
        [parts.Sum(p => (long)p.Count)],
        parts[0].IsFloatingPoint ? [.. parts.SelectMany(p => p.Floats)] : default,
        parts[0].IsInteger ? [.. parts.SelectMany(p => p.Integers)] : default,
        parts[0].IsString ? [.. parts.SelectMany(p => p.Strings)] : default);

    /// <summary>A tensor with the shape and declared type of this one and other floating-point elements.</summary>
    public ReferenceTensor WithFloats(double[] values) => OfFloats(ElementType, Dims, values);

    /// <summary>The same floating-point elements under another floating-point type, not rounded.</summary>
    public ReferenceTensor As(DataType elementType) => elementType == ElementType ? this : OfFloats(elementType, Dims, [.. Floats]);

    /// <summary>The tensor with its floating-point elements rounded to the declared type.</summary>
    public ReferenceTensor Rounded()
    {
        if (!IsFloatingPoint || ElementType == DataType.Double)
        {
            return this;
        }

        double[] values = new double[Count];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = ElementRounding.Round(ElementType, _floats[i]);
        }

        return WithFloats(values);
    }

    /// <inheritdoc/>
    public override string ToString() => $"{ElementType.OnnxName()}[{string.Join(", ", Dims)}]";

    internal static bool HoldsIntegers(DataType type) =>
        type.IsInteger() || type is DataType.Bool or DataType.Int4 or DataType.UInt4 or DataType.Int2 or DataType.UInt2;

    private static ImmutableArray<T> Pick<T>(ImmutableArray<T> values, int[] map)
    {
        T[] picked = new T[map.Length];
        for (int i = 0; i < map.Length; i++)
        {
            picked[i] = values[map[i]];
        }

        return ImmutableCollectionsMarshal.AsImmutableArray(picked);
    }

    private GraphException WrongKind(string expected) => new($"A {this} tensor was read as {expected}.");
}
