using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>
/// A tensor that an optimizer keeps for each group: one element for each parameter, float [n] unless said otherwise. An optimizer that
/// compresses its states divides a group's n elements into rows of <see cref="BlockSize"/>, which no two parameters share; its states are
/// then [n / block, block] or, with one element a row, [n / block, 1].
/// </summary>
/// <param name="Name">Its name, in PyTorch's words where PyTorch has it.</param>
public sealed record OptimizerState(string Name)
{
    /// <summary>Type of its elements.</summary>
    public DataType Type { get; init; } = DataType.Float;

    /// <summary>Elements of a row; null for no rows.</summary>
    public int? BlockSize { get; init; }

    /// <summary>Whether it has one element for each row instead of one for each parameter.</summary>
    public bool IsPerBlock { get; init; }

    /// <summary>Number of elements that stand for <paramref name="count"/> parameters, those at the end of a row included.</summary>
    public long ElementCount(long count) => IsPerBlock && BlockSize is int size ? (count + size - 1) / size : count;

    /// <summary>Its shape for a group.</summary>
    /// <param name="length">n, a multiple of the block.</param>
    public Shape ShapeOf(long length) => BlockSize is int size ? Shape.Of(length / size, IsPerBlock ? 1 : size) : Shape.Of(length);

    /// <summary>Its shape for one parameter: the parameter's own, or one element a row.</summary>
    /// <param name="dims">The parameter's shape.</param>
    public IReadOnlyList<long> DimsFor(IReadOnlyList<long> dims) => IsPerBlock ? [ElementCount(dims.Aggregate(1L, (n, d) => n * d))] : dims;

    /// <summary>Bytes that the state takes for <paramref name="count"/> parameters.</summary>
    public long ByteCount(long count) => Type.ByteLength(ElementCount(count));
}
