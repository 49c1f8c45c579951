using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>LoRA on one module: <c>y = base(x) + scaling * B(A(dropout(x)))</c>.</summary>
/// <param name="Module">The module of the base model.</param>
/// <param name="Rank">r.</param>
/// <param name="Scaling"><c>alpha / r</c>, or <c>alpha / sqrt(r)</c> for rsLoRA.</param>
/// <param name="A">[r, in]; for an embedding [r, vocabulary], for a convolution [r, in, kernel ...].</param>
/// <param name="B">[out, r]; for a convolution [out, r / groups, 1 ...].</param>
/// <param name="Bias">[out], scaled too; null without <c>lora_bias</c>.</param>
/// <param name="Magnitude">DoRA's magnitudes [out]; null without <c>use_dora</c>.</param>
public sealed record LoraLayer(
    LinearModule Module, int Rank, double Scaling, AdapterTensor A, AdapterTensor B, AdapterTensor? Bias, AdapterTensor? Magnitude)
{
    /// <summary>Whether the module is an embedding.</summary>
    public bool IsEmbedding => Module.Kind == LinearKind.Embedding;

    /// <summary>Whether the module is a convolution.</summary>
    public bool IsConvolution => Module.Kind == LinearKind.Convolution;

    /// <summary>Groups of a convolution's channels; 1 for everything else.</summary>
    public long Groups => IsConvolution ? Module.Sites[0].Node.GetInt("group", 1) : 1;

    /// <summary>The layer's tensors.</summary>
    public IEnumerable<AdapterTensor> Tensors => ((AdapterTensor?[])[A, B, Bias, Magnitude]).OfType<AdapterTensor>();
}
