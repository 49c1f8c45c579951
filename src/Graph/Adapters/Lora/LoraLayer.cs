using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>LoRA on one module: <c>y = base(x) + scaling * B(A(dropout(x)))</c>.</summary>
/// <param name="Module">The module of the base model.</param>
/// <param name="Rank">r.</param>
/// <param name="Scaling"><c>alpha / r</c>, or <c>alpha / sqrt(r)</c> for rsLoRA.</param>
/// <param name="A">[r, in]; for an embedding [r, vocabulary].</param>
/// <param name="B">[out, r].</param>
/// <param name="Bias">[out], scaled too; null without <c>lora_bias</c>.</param>
/// <param name="Magnitude">DoRA's magnitudes [out]; null without <c>use_dora</c>.</param>
public sealed record LoraLayer(
    LinearModule Module, int Rank, double Scaling, AdapterTensor A, AdapterTensor B, AdapterTensor? Bias, AdapterTensor? Magnitude)
{
    /// <summary>Whether the module is an embedding.</summary>
    public bool IsEmbedding => Module.Kind == LinearKind.Embedding;

    /// <summary>The layer's tensors.</summary>
    public IEnumerable<AdapterTensor> Tensors => ((AdapterTensor?[])[A, B, Bias, Magnitude]).OfType<AdapterTensor>();
}
