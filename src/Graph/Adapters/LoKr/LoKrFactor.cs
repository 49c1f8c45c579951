using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters.LoKr;

/// <summary>One side of the Kronecker product: a matrix, or the product of two thin ones.</summary>
/// <param name="Whole">[rows, columns]; null if decomposed.</param>
/// <param name="Tall">[rows, r]; null if whole.</param>
/// <param name="Wide">[r, columns]; null if whole.</param>
internal sealed record LoKrFactor(AdapterTensor? Whole, AdapterTensor? Tall, AdapterTensor? Wide)
{
    public IEnumerable<AdapterTensor> Tensors => ((AdapterTensor?[])[Whole, Tall, Wide]).OfType<AdapterTensor>();

    public int Rows => (int)(Whole ?? Tall)!.Dims[0];

    public int Columns => (int)(Whole ?? Wide)!.Dims[1];

    public Value Emit(GraphBuilder builder, Func<AdapterTensor, Value> input) =>
        Whole is not null ? input(Whole) : builder.MatMul(input(Tall!), input(Wide!));

    public Matrix Compute(Func<AdapterTensor, float[]> values)
    {
        return Whole is not null ? Of(Whole) : Of(Tall!).Multiply(Of(Wide!));

        Matrix Of(AdapterTensor tensor) => new((int)tensor.Dims[0], (int)tensor.Dims[1], values(tensor));
    }
}
