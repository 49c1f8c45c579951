using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation.Kernels;

/// <summary>Tensors made from attributes, shapes and bounds.</summary>
internal static class ConstantKernels
{
    public static void Register(KernelRegistry registry)
    {
        registry.Add("Constant", Constant);
        registry.Add("ConstantOfShape", ConstantOfShape);
        registry.Add("Range", Range);
        registry.Add("EyeLike", EyeLike);
        registry.Add("OneHot", OneHot);
        registry.Add("Shape", Shape);
        registry.Add("Size", c => ReferenceTensor.OfIntegers(DataType.Int64, [], c.Input(0).Count));
    }

    private static ReferenceTensor Constant(KernelContext c)
    {
        foreach ((string name, Func<NodeAttribute, ReferenceTensor> read) in ConstantAttributes)
        {
            if (c.Attribute(name) is { } attribute)
            {
                return read(attribute);
            }
        }

        throw c.Unsupported($"it has none of the attributes {string.Join(", ", ConstantAttributes.Select(a => a.Name))}");
    }

    private static readonly (string Name, Func<NodeAttribute, ReferenceTensor> Read)[] ConstantAttributes =
    [
        ("value", a => ReferenceTensor.From(a.AsTensor())),
        ("value_float", a => ReferenceTensor.OfFloats(DataType.Float, [], a.AsFloat())),
        ("value_floats", a => ReferenceTensor.OfFloats(DataType.Float, [a.AsFloats().Length], [.. a.AsFloats().Select(v => (double)v)])),
        ("value_int", a => ReferenceTensor.OfIntegers(DataType.Int64, [], a.AsInt())),
        ("value_ints", a => ReferenceTensor.Int64Vector([.. a.AsInts()])),
        ("value_string", a => ReferenceTensor.OfStrings([], [a.AsBytes()])),
        ("value_strings", a => ReferenceTensor.OfStrings([a.AsStrings().Length], a.AsStrings())),
    ];

    private static ReferenceTensor ConstantOfShape(KernelContext c)
    {
        ImmutableArray<long> dims = c.Input(0).Integers;
        ReferenceTensor value = c.Attribute("value") is { } attribute
            ? ReferenceTensor.From(attribute.AsTensor())
            : ReferenceTensor.OfFloats(DataType.Float, [], 0);
        return value.Count == 1
            ? value.Take(dims, new int[Indexing.Count(dims)])
            : throw c.Error($"the attribute 'value' must have one element, not {value.Count}");
    }

    private static ReferenceTensor Range(KernelContext c)
    {
        (ReferenceTensor start, ReferenceTensor limit, ReferenceTensor delta) = (c.Input(0), c.Input(1), c.Input(2));
        if (delta.ToScalar() == 0)
        {
            throw c.Error("the step is zero");
        }

        double span = start.IsFloatingPoint
            ? (limit.ToScalar() - start.ToScalar()) / delta.ToScalar()
            : (double)(limit.ToInteger() - start.ToInteger()) / delta.ToInteger();
        int count = Indexing.Count([(long)Math.Max(0, Math.Ceiling(span))]);
        return start.IsFloatingPoint
            ? ReferenceTensor.OfFloats(start.ElementType, [count], [.. Enumerable.Range(0, count).Select(i => start.ToScalar() + (i * delta.ToScalar()))])
            : ReferenceTensor.OfIntegers(start.ElementType, [count], [.. Enumerable.Range(0, count).Select(i => start.ToInteger() + (i * delta.ToInteger()))]);
    }

    private static ReferenceTensor EyeLike(KernelContext c)
    {
        ReferenceTensor like = c.Input(0);
        if (like.Rank != 2)
        {
            throw c.Error($"the input must be a matrix, not of rank {like.Rank}");
        }

        DataType type = (DataType)c.GetInt("dtype", (long)like.ElementType);
        long diagonal = c.GetInt("k", 0);
        int[] map = [.. Enumerable.Range(0, like.Count).Select(i => i % like.Dims[1] == (i / like.Dims[1]) + diagonal ? 1 : 0)];
        return ReferenceTensor.Chain(ReferenceTensor.Filled(type, [], 0), ReferenceTensor.Filled(type, [], 1)).Take(like.Dims, map);
    }

    // values = [off, on]; an index outside [-depth, depth) gives a row of off values.
    private static ReferenceTensor OneHot(KernelContext c)
    {
        (ReferenceTensor indices, ReferenceTensor values) = (c.Input(0), c.Input(2));
        long depth = (long)c.Input(1).ToScalar();
        int axis = c.Axis(c.GetInt("axis", -1), indices.Rank + 1);
        long[] dims = [.. indices.Dims[..axis], depth, .. indices.Dims[axis..]];
        long[] strides = Indexing.Strides(indices.Dims);
        int[] source = Indexing.View(dims, [.. strides[..axis], 0, .. strides[axis..]]);
        int[] level = Indexing.View(dims, [.. Enumerable.Range(0, dims.Length).Select(i => i == axis ? 1L : 0L)]);
        int[] map = new int[source.Length];
        for (int i = 0; i < map.Length; i++)
        {
            long index = indices.IsFloatingPoint ? (long)indices.Floats[source[i]] : indices.Integers[source[i]];
            map[i] = (index < 0 ? index + depth : index) == level[i] ? 1 : 0;
        }

        return values.Take(dims, map);
    }

    private static ReferenceTensor Shape(KernelContext c)
    {
        ImmutableArray<long> dims = c.Input(0).Dims;
        int start = Clamp(c.GetInt("start", 0));
        int end = Clamp(c.GetInt("end", dims.Length));
        return ReferenceTensor.Int64Vector([.. dims.Take(end).Skip(start)]);

        int Clamp(long bound) => (int)Math.Clamp(bound < 0 ? bound + dims.Length : bound, 0, dims.Length);
    }
}
