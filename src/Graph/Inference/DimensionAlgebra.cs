using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference;

/// <summary>Arithmetic and broadcasting of dimensions; an unknown operand gives an unknown result.</summary>
internal static class DimensionAlgebra
{
    internal static SymbolicExpression? ToExpression(this Dimension dimension) => SymbolicExpression.From(dimension);

    internal static Dimension ToDimensionOrUnknown(this SymbolicExpression? expression) => expression?.ToDimension() ?? Dimension.Unknown;

    /// <summary>Product of dimensions; 1 for none.</summary>
    internal static SymbolicExpression? Product(this IEnumerable<Dimension> dimensions)
    {
        SymbolicExpression? product = SymbolicExpression.One;
        foreach (Dimension dimension in dimensions)
        {
            product *= dimension.ToExpression();
        }

        return product;
    }

    /// <summary>Sum of dimensions.</summary>
    internal static Dimension Sum(this IEnumerable<Dimension> dimensions)
    {
        SymbolicExpression? sum = SymbolicExpression.Zero;
        foreach (Dimension dimension in dimensions)
        {
            sum += dimension.ToExpression();
        }

        return sum.ToDimensionOrUnknown();
    }

    /// <summary>A shape with one dimension replaced.</summary>
    internal static Shape With(this Shape shape, int axis, Dimension dimension) =>
        new(shape.Select((d, i) => i == axis ? dimension : d));

    /// <summary>Shape of the broadcast of several inputs, as ONNX's multidirectional broadcasting gives it.</summary>
    /// <returns>Null if a rank is unknown.</returns>
    /// <exception cref="GraphException">Two dimensions differ and neither is 1.</exception>
    internal static Shape? Broadcast(OperatorCall call, params ReadOnlySpan<int> inputs)
    {
        Shape? result = null;
        foreach (int input in inputs)
        {
            if (call.ShapeOf(input) is not Shape shape)
            {
                return null;
            }

            result = result is null ? shape : Broadcast(call, result, shape);
        }

        return result;
    }

    /// <summary>Shape of the broadcast of two shapes.</summary>
    /// <exception cref="GraphException">Two dimensions differ and neither is 1.</exception>
    internal static Shape Broadcast(OperatorCall call, Shape left, Shape right)
    {
        int rank = Math.Max(left.Rank, right.Rank);
        Dimension[] dims = new Dimension[rank];
        for (int i = 0; i < rank; i++)
        {
            Dimension a = i < rank - left.Rank ? 1 : left[i - (rank - left.Rank)];
            Dimension b = i < rank - right.Rank ? 1 : right[i - (rank - right.Rank)];
            dims[i] = Broadcast(call, a, b, left, right);
        }

        return new Shape(dims);
    }

    private static Dimension Broadcast(OperatorCall call, Dimension a, Dimension b, Shape left, Shape right)
    {
        if (a.Value == 1 || a == b)
        {
            return b;
        }

        if (b.Value == 1)
        {
            return a;
        }

        if (a.IsKnown && b.IsKnown)
        {
            throw call.Error($"shapes {left} and {right} do not broadcast: {a} and {b} differ and neither is 1");
        }

        return SymbolicExpression.Broadcast(a.ToExpression(), b.ToExpression()).ToDimensionOrUnknown();
    }
}
