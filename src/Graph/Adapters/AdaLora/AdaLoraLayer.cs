using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.AdaLora;

/// <summary>AdaLoRA on one module.</summary>
/// <param name="Module">The module.</param>
/// <param name="Rank">Number of triplets; 0 where all are pruned.</param>
/// <param name="A">[rank, in].</param>
/// <param name="B">[out, rank].</param>
/// <param name="E">[rank, 1]: the singular values.</param>
internal sealed record AdaLoraLayer(LinearModule Module, int Rank, AdapterTensor A, AdapterTensor B, AdapterTensor E)
{
    /// <summary>The name under which PEFT lists the layer in <c>rank_pattern</c>.</summary>
    public string PatternKey => Module.Path + ".lora_E";

    public IEnumerable<AdapterTensor> Tensors => [A, B, E];
}
