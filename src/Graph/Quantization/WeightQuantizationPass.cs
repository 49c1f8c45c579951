using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Quantization;

/// <summary>
/// Replaces the weights of linear layers by a format with fewer bits, dequantized by standard operators in front of the
/// product. Requires opset 13. Weights are read and replaced one at a time; a weight that several sites share is
/// quantized once, and one that another module reads too (a tied embedding) stays for that module.
/// </summary>
/// <remarks>
/// The dequantized weight is <c>[N, K]</c> whatever the original orientation, read by a Gemm. Gradients pass to the activations through
/// <c>x_grad = y_grad What^T</c>; nothing upstream of the product's weight input needs one.
/// </remarks>
public sealed class WeightQuantizationPass : GraphPass
{
    private readonly IWeightFormat _format;
    private readonly Func<LinearModule, bool> _selector;

    /// <summary>Creates the pass.</summary>
    /// <param name="format">The weight format.</param>
    /// <param name="selector">Which modules are quantized; by default <see cref="IsQuantizedByDefault"/>.</param>
    public WeightQuantizationPass(IWeightFormat format, Func<LinearModule, bool>? selector = null)
    {
        ArgumentNullException.ThrowIfNull(format);
        _format = format;
        _selector = selector ?? IsQuantizedByDefault;
    }

    /// <summary>What the last run did; empty before the first.</summary>
    public QuantizationReport Report { get; private set; } = new("", []);

    /// <summary>
    /// Every linear layer with a float weight except the output head, as transformers' EETQ integration chooses: no
    /// embeddings, no convolutions.
    /// </summary>
    public static bool IsQuantizedByDefault(LinearModule module)
    {
        ArgumentNullException.ThrowIfNull(module);
        return CanQuantize(module) && !module.IsOutputHead;
    }

    /// <summary><see cref="IsQuantizedByDefault"/>, without the modules that an adapter trains whole.</summary>
    public static Func<LinearModule, bool> DefaultBeside(AdapterConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return module => IsQuantizedByDefault(module) && !config.TrainsWhole(module.Path);
    }

    /// <summary>Whether the module is a linear layer with a float weight.</summary>
    public static bool CanQuantize(LinearModule module)
    {
        ArgumentNullException.ThrowIfNull(module);
        return module is { Kind: LinearKind.Linear, Storage: WeightStorage.Dense };
    }

    /// <inheritdoc/>
    /// <exception cref="ModelFormatException">A weight holds infinities, NaN or values beyond the format's range.</exception>
    /// <exception cref="GraphException">The opset is too old, or the selector names a module that has no float weight.</exception>
    public override bool Run(OnnxModel model)
    {
        LinearSites sites = LinearFinder.Find(model);
        List<QuantizedLayer> layers = [];
        foreach (LinearModule module in sites.Modules.Where(_selector))
        {
            if (!CanQuantize(module))
            {
                throw new GraphException($"Module '{module.Path}' ({module.Kind}, {module.Storage}) cannot be quantized to {_format.Name}: only linear layers with float weights can.");
            }

            layers.Add(Quantize(model, module));
        }

        Report = new QuantizationReport(_format.Name, layers);
        return layers.Count > 0;
    }

    private QuantizedLayer Quantize(OnnxModel model, LinearModule module)
    {
        WeightMatrix matrix = WeightMatrix.Of(module.Sites[0]);
        IQuantizedWeight quantized = _format.Quantize(matrix);
        Value weight = module.Weight;
        Value original = module.Sites[0].Node.Inputs[module.Sites[0].WeightIndex]!;
        DataType type = original.ElementType.IsFloatingPoint() ? original.ElementType : matrix.ElementType;

        // The dequantization reads initializers only, so it may stand first of all.
        GraphBuilder builder = new(model.Graph, model.Opset, model.Graph.First);
        Value dequantized = quantized.Emit(builder, weight.Name, type);
        foreach (LinearSite site in module.Sites)
        {
            WeightInput.Replace(site, dequantized, isOutByIn: true, model.Opset);
        }

        return new QuantizedLayer(
            module.Path, matrix.Name, module.InFeatures, module.OutFeatures, matrix.ByteLength, quantized.ByteLength, quantized.Error);
    }
}
