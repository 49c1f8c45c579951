using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.Evaluation.OrtCases;

/// <summary>Tensors of seeded random elements.</summary>
internal static class Draw
{
    /// <summary>Shapes for operators that treat every element alike.</summary>
    public static readonly long[][] AnyShape = [[], [1], [7], [3, 5], [2, 1, 3], [2, 3, 1, 4], [0], [2, 0, 3]];

    /// <summary>Pairs of shapes that broadcast.</summary>
    public static readonly (long[] A, long[] B)[] Broadcasting =
    [
        ([], []), ([1], []), ([3], [1]), ([2, 3], [3]), ([4], [3, 1]), ([2, 1, 4], [3, 1]), ([2, 3, 4, 5], [4, 1]),
        ([0, 3], [1, 3]), ([0], [1]), ([2, 0], []), ([1, 1, 1, 1], [5]),
    ];

    public static ReferenceTensor Floats(DataType type, long[] dims, double low = -3, double high = 3, int seed = 1)
    {
        Random random = new(seed);
        return ReferenceTensor.OfFloats(type, dims, [.. Elements(dims).Select(_ => low + ((high - low) * random.NextDouble()))]).Rounded();
    }

    public static ReferenceTensor Floats(long[] dims, double low = -3, double high = 3, int seed = 1) => Floats(DataType.Float, dims, low, high, seed);

    public static ReferenceTensor Integers(DataType type, long[] dims, int low = -9, int high = 9, int seed = 1)
    {
        Random random = new(seed);
        return ReferenceTensor.OfIntegers(type, dims, [.. Elements(dims).Select(_ => (long)random.Next(low, high + 1))]);
    }

    public static ReferenceTensor Int64(long[] dims, int low = -9, int high = 9, int seed = 1) => Integers(DataType.Int64, dims, low, high, seed);

    public static ReferenceTensor Bools(long[] dims, int seed = 1) => Integers(DataType.Bool, dims, 0, 1, seed);

    /// <summary>Floats where the type is floating-point, else integers.</summary>
    public static ReferenceTensor Any(DataType type, long[] dims, int seed = 1) =>
        type.IsFloatingPoint() ? Floats(type, dims, seed: seed) : Integers(type, dims, seed: seed);

    public static ReferenceTensor Vector(params long[] values) => ReferenceTensor.Int64Vector(values);

    public static ReferenceTensor Scalar(double value, DataType type = DataType.Float) => ReferenceTensor.OfFloats(type, [], value).Rounded();

    public static ReferenceTensor Scalar(long value, DataType type = DataType.Int64) => ReferenceTensor.OfIntegers(type, [], value);

    private static IEnumerable<int> Elements(long[] dims) => Enumerable.Range(0, Indexing.Count(dims));
}
