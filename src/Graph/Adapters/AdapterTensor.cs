namespace OrtQLoRA.Graph.Adapters;

/// <summary>A tensor that an adapter method adds to a model; fp32.</summary>
/// <param name="Name">Name of the graph input: module path and parameter, <c>model.layers.0.q_proj.lora_A.weight</c>.</param>
/// <param name="FileKey">Key in the adapter file.</param>
/// <param name="Dims">Dimensions, in the file and in the graph.</param>
/// <param name="Initialize">Fills the values at the first step.</param>
public sealed record AdapterTensor(string Name, string FileKey, IReadOnlyList<long> Dims, Action<FirstValues, Span<float>> Initialize)
{
    /// <summary>Whether the tensor is trained; otherwise it is a constant of the graph (VeRA's projections).</summary>
    public bool IsTrained { get; init; } = true;

    /// <summary>
    /// Whether the adapter file holds the tensor; otherwise it is made anew from the configuration when the adapter is read.
    /// </summary>
    public bool IsWritten { get; init; } = true;

    /// <summary>Key of the gradient in gradient files where it differs from <see cref="FileKey"/>.</summary>
    public string? GradientKey { get; init; }

    /// <summary>
    /// The symmetric matrix [columns, columns] by which the optimizer multiplies the tensor's gradient from the right, from first
    /// values of other tensors; null for none.
    /// </summary>
    public Func<Func<AdapterTensor, float[]>, LinearAlgebra.Matrix>? Preconditioner { get; init; }

    /// <summary>Number of elements.</summary>
    public long ElementCount => Dims.Aggregate(1L, (n, d) => checked(n * d));
}
