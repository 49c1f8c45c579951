using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>
/// The base model before an adapter goes in, for methods whose start changes the base's weights (PiSSA, OLoRA, LoftQ, CorDA)
/// or looks at its activations (EVA). It works on float weights: quantization comes after it.
/// </summary>
public sealed class BasePreparation
{
    private readonly MergedInitializers _initializers;
    private readonly Dictionary<string, ITensor> _started = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ITensor> _initial = new(StringComparer.Ordinal);

    private BasePreparation(AdapterWeights? given, LinearSites sites)
    {
        Given = given;
        _initializers = new MergedInitializers(sites);
    }

    /// <summary>The adapter that training starts from or that is merged; null if the method makes the first tensors.</summary>
    public AdapterWeights? Given { get; }

    /// <summary>Seed of random numbers.</summary>
    public int Seed { get; private init; }

    /// <summary>How the base is quantized afterwards; null if it is not.</summary>
    public BaseQuantization? Quantization { get; private init; }

    /// <summary>Statistics of the layers' inputs over calibration data; null without.</summary>
    public ILayerStatistics? Statistics { get; private init; }

    /// <summary>First tensors of the adapter that the method computed, by name.</summary>
    internal IReadOnlyDictionary<string, ITensor> Started => _started;

    /// <summary>
    /// The adapter's tensors at the start of training by file key, as far as the base was changed by them: who has the adapter
    /// and these can restore the changed base.
    /// </summary>
    internal IReadOnlyDictionary<string, ITensor> Initial => _initial;

    /// <summary>Whether nodes or initializers were added to the model, rather than contents replaced only.</summary>
    internal bool ChangedStructure => _initializers.ChangedStructure;

    /// <summary>Names of the initializers that got other contents.</summary>
    internal IReadOnlySet<string> Replaced => _initializers.Replaced;

    /// <summary>Lets a method change the base; does nothing for methods that leave it alone.</summary>
    /// <param name="model">The model, changed in place.</param>
    /// <param name="method">The method.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="given">The adapter that training starts from or that is merged; null for the method's own start.</param>
    /// <param name="seed">Seed of random numbers.</param>
    /// <param name="quantization">How the base is quantized afterwards; null if it is not.</param>
    /// <param name="statistics">Statistics of the layers' inputs; null without calibration data.</param>
    public static BasePreparation Run(
        OnnxModel model,
        IAdapterMethod method,
        AdapterConfig config,
        AdapterWeights? given,
        int seed,
        BaseQuantization? quantization = null,
        ILayerStatistics? statistics = null)
    {
        ArgumentNullException.ThrowIfNull(method);
        LinearSites sites = LinearFinder.Find(model);
        BasePreparation preparation = new(given, sites) { Seed = seed, Quantization = quantization, Statistics = statistics };
        method.Plan(sites, config).Prepare(preparation);
        return preparation;
    }

    /// <summary>The module's weight [out, in], an embedding's [vocabulary, dim].</summary>
    public static Matrix Weight(LinearModule module) => BaseWeight.Read(module);

    /// <summary>Replaces a module's weight [out, in], an embedding's [vocabulary, dim].</summary>
    /// <exception cref="ConfigurationException">The weight is quantized, so that it cannot be replaced.</exception>
    public void Replace(LinearModule module, Matrix weight)
    {
        ArgumentNullException.ThrowIfNull(module);
        ArgumentNullException.ThrowIfNull(weight);
        LinearSite site = module.Sites[0];
        if (site.Storage != WeightStorage.Dense)
        {
            throw new ConfigurationException(
                $"The adapter's initialization changes the weight of '{module.Path}', which the model holds quantized ({site.Storage}). Start from the float model, or use another init_lora_weights.");
        }

        Matrix stored = (site.Kind == LinearKind.Embedding ? site.IsOutByIn : !site.IsOutByIn) ? weight.Transpose() : weight.Clone();
        if (site.WeightFactor != 1)
        {
            stored.Scale(1 / site.WeightFactor);
        }

        _initializers.Replace(module, ConvertedTensor.Like(stored.ToTensor(), site.Content));
    }

    /// <summary>Gives a tensor of the adapter its first values.</summary>
    public void Start(AdapterTensor tensor, float[] values)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        _started[tensor.Name] = DenseTensor.Of([.. tensor.Dims], values);
    }

    /// <summary>Records the tensor's values by which the base was changed.</summary>
    public void RecordInitial(AdapterTensor tensor, float[] values)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        _initial[tensor.FileKey] = DenseTensor.Of([.. tensor.Dims], values);
    }
}
