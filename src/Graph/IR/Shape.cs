using System.Collections;
using System.Collections.Immutable;

namespace OrtQLoRA.Graph.IR;

/// <summary>The dimensions of a tensor whose rank is known. An unknown rank is a null shape.</summary>
public sealed class Shape : IReadOnlyList<Dimension>, IEquatable<Shape>
{
    private readonly ImmutableArray<Dimension> _dimensions;

    /// <summary>Creates a shape from dimensions, outermost first.</summary>
    public Shape(params IEnumerable<Dimension> dimensions)
    {
        _dimensions = [.. dimensions];
    }

    /// <summary>The shape of a scalar: rank 0.</summary>
    public static Shape Scalar { get; } = new([]);

    /// <summary>Number of dimensions.</summary>
    public int Rank => _dimensions.Length;

    /// <inheritdoc/>
    public int Count => _dimensions.Length;

    /// <summary>Whether every dimension is a number.</summary>
    public bool IsStatic => _dimensions.All(d => d.IsKnown);

    /// <summary>Number of elements if the shape is static, else null.</summary>
    /// <exception cref="OverflowException">The count does not fit 63 bits.</exception>
    public long? ElementCount => IsStatic ? _dimensions.Aggregate(1L, (n, d) => checked(n * d.Value!.Value)) : null;

    /// <summary>The dimension at an index; negative indices count from the last.</summary>
    public Dimension this[int index] => _dimensions[index < 0 ? index + Rank : index];

    /// <summary>A static shape.</summary>
    public static Shape Of(params IEnumerable<long> dims) => new(dims.Select(d => Dimension.Of(d)));

    /// <summary>The numbers of a static shape.</summary>
    /// <exception cref="InvalidOperationException">A dimension is not known.</exception>
    public long[] ToArray() => IsStatic
        ? [.. _dimensions.Select(d => d.Value!.Value)]
        : throw new InvalidOperationException($"The shape {this} is not static.");

    /// <summary>Whether both shapes are certain to be equal at run time.</summary>
    public bool IsSameAs(Shape? other) =>
        other is not null && Rank == other.Rank && _dimensions.Zip(other._dimensions).All(p => p.First.IsSameAs(p.Second));

    /// <inheritdoc/>
    public bool Equals(Shape? other) => other is not null && _dimensions.SequenceEqual(other._dimensions);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as Shape);

    /// <inheritdoc/>
    public override int GetHashCode() => _dimensions.Aggregate(17, (h, d) => HashCode.Combine(h, d));

    /// <inheritdoc/>
    public IEnumerator<Dimension> GetEnumerator() => ((IEnumerable<Dimension>)_dimensions).GetEnumerator();

    /// <inheritdoc/>
    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    public override string ToString() => "[" + string.Join(", ", _dimensions) + "]";
}
