namespace OrtQLoRA.Graph.Models;

/// <summary>
/// The shape of a Llama decoder. The names follow .NET; each remark gives the key of the same meaning in Hugging Face's
/// <c>config.json</c>.
/// </summary>
public sealed record LlamaModelOptions
{
    /// <summary>Lowest version of ONNX's operator set that the builder writes.</summary>
    public const int MinOpset = 17;

    /// <summary>Highest version of ONNX's operator set that the builder writes.</summary>
    public const int MaxOpset = 21;

    /// <summary>Key of the model's metadata that holds <see cref="ContextLength"/>.</summary>
    public const string ContextLengthKey = "max_position_embeddings";

    /// <summary>Width of the residual stream.</summary>
    /// <remarks><c>hidden_size</c>.</remarks>
    public required int HiddenSize { get; init; }

    /// <summary>Width inside the gated MLP.</summary>
    /// <remarks><c>intermediate_size</c>.</remarks>
    public required int IntermediateSize { get; init; }

    /// <summary>Number of decoder layers.</summary>
    /// <remarks><c>num_hidden_layers</c>.</remarks>
    public required int LayerCount { get; init; }

    /// <summary>Number of query heads.</summary>
    /// <remarks><c>num_attention_heads</c>.</remarks>
    public required int HeadCount { get; init; }

    /// <summary>Number of key and value heads, each shared by as many query heads; null for one of its own per query head.</summary>
    /// <remarks><c>num_key_value_heads</c>.</remarks>
    public int? KeyValueHeadCount { get; init; }

    /// <summary>Width of one head; null for the hidden size divided by the number of query heads.</summary>
    /// <remarks><c>head_dim</c>.</remarks>
    public int? HeadSize { get; init; }

    /// <summary>Number of token ids.</summary>
    /// <remarks><c>vocab_size</c>.</remarks>
    public required int VocabularySize { get; init; }

    /// <summary>
    /// Longest sequence the model is meant for; 2048 by default. The graph itself takes any length: the number is written
    /// to the model's metadata under <see cref="ContextLengthKey"/>, where text generation finds it.
    /// </summary>
    /// <remarks><c>max_position_embeddings</c>.</remarks>
    public int ContextLength { get; init; } = 2048;

    /// <summary>Base of the rotary frequencies; 10000 by default.</summary>
    /// <remarks><c>rope_theta</c>.</remarks>
    public double RopeTheta { get; init; } = 10000;

    /// <summary>Added to the mean square before its root is taken; 1e-5 by default.</summary>
    /// <remarks><c>rms_norm_eps</c>.</remarks>
    public double NormEpsilon { get; init; } = 1e-5;

    /// <summary>Whether the output head is the transposed embedding; false by default.</summary>
    /// <remarks><c>tie_word_embeddings</c>.</remarks>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>Standard deviation of the initial weights; 0.02 by default.</summary>
    /// <remarks><c>initializer_range</c>.</remarks>
    public double InitializerRange { get; init; } = 0.02;

    /// <summary>Seed of the initial weights; 0 by default.</summary>
    public int Seed { get; init; }

    /// <summary>Version of ONNX's operator set, 17 (the default) to 21.</summary>
    public int Opset { get; init; } = MinOpset;

    internal int EffectiveKeyValueHeadCount => KeyValueHeadCount ?? HeadCount;

    internal int EffectiveHeadSize => HeadSize ?? HiddenSize / HeadCount;

    /// <summary>Checks the options.</summary>
    /// <exception cref="ConfigurationException">Lists every option that cannot be built.</exception>
    public void Validate()
    {
        List<string> faults = [];
        Positive(nameof(HiddenSize), HiddenSize);
        Positive(nameof(IntermediateSize), IntermediateSize);
        Positive(nameof(LayerCount), LayerCount);
        Positive(nameof(HeadCount), HeadCount);
        Positive(nameof(KeyValueHeadCount), KeyValueHeadCount ?? 1);
        Positive(nameof(HeadSize), HeadSize ?? 1);
        Positive(nameof(VocabularySize), VocabularySize);
        Positive(nameof(ContextLength), ContextLength);
        Require(RopeTheta > 0 && double.IsFinite(RopeTheta), $"{nameof(RopeTheta)} is {RopeTheta}; give a positive number such as 10000.");
        Require(NormEpsilon > 0 && double.IsFinite(NormEpsilon), $"{nameof(NormEpsilon)} is {NormEpsilon}; give a small positive number such as 1e-5.");
        Require(InitializerRange > 0 && double.IsFinite(InitializerRange), $"{nameof(InitializerRange)} is {InitializerRange}; give a positive number such as 0.02.");
        Require(Opset is >= MinOpset and <= MaxOpset, $"{nameof(Opset)} is {Opset}; the builder writes {MinOpset} to {MaxOpset}.");
        if (faults.Count == 0)
        {
            Require(
                HeadSize is not null || HiddenSize % HeadCount == 0,
                $"{nameof(HiddenSize)} {HiddenSize} is not a multiple of {nameof(HeadCount)} {HeadCount}; change one, or give {nameof(HeadSize)}.");
            Require(
                EffectiveHeadSize % 2 == 0,
                $"Heads are {EffectiveHeadSize} wide; rotary embedding turns pairs, so give an even {nameof(HeadSize)} (or {nameof(HiddenSize)} / {nameof(HeadCount)}).");
            Require(
                HeadCount % EffectiveKeyValueHeadCount == 0,
                $"{nameof(HeadCount)} {HeadCount} is not a multiple of {nameof(KeyValueHeadCount)} {EffectiveKeyValueHeadCount}.");
        }

        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }

        void Positive(string name, int value) => Require(value > 0, $"{name} is {value}; it must be at least 1.");

        void Require(bool condition, string fault)
        {
            if (!condition)
            {
                faults.Add(fault);
            }
        }
    }
}
