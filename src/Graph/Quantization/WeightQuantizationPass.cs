using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization.Eetq;

namespace OrtQLoRA.Graph.Quantization;

/// <summary>
/// Replaces the weights of linear layers by a format with fewer bits, dequantized by standard operators in front of the
/// product. Requires opset 13. Weights are read and replaced one at a time; a weight that several sites share is
/// quantized once, and one that another module reads too (a tied embedding) stays for that module.
/// Weights inside operators that do more than multiply by them (fused attention) stay as they are.
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

    /// <summary>By which operators the model reads its int8 weights; <see cref="QuantizedForm.Qdq"/> by default.</summary>
    public QuantizedForm Form { get; init; }

    /// <summary>
    /// Whether quantized values are computed again when the model is written, instead of being held: quantizing takes the
    /// memory of one weight. The original weights must then outlive the model.
    /// </summary>
    public bool IsStreamed { get; init; }

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
        LinearModule[] modules = [.. sites.Modules.Where(m => _selector(m) && !m.Sites.Any(s => s.IsFused))];
        List<string> faults = [];
        foreach (LinearModule module in modules)
        {
            if (!CanQuantize(module))
            {
                throw new GraphException($"Module '{module.Path}' ({module.Kind}, {module.Storage}) cannot be quantized to {_format.Name}: only linear layers with float weights can.");
            }

            faults.AddRange(module.Sites
                .Select(s => (Site: s, Misfit: Int8ProductEmitter.Misfit(s, Form, TypeOf(module))))
                .Where(s => s.Misfit is not null)
                .Select(s => $"{s.Site.Node.Describe()} of module '{module.Path}' cannot become {Form}: {s.Misfit}. Use the form qdq, or leave the module out."));
        }

        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }

        LastUsed<IQuantizedWeight> last = new();
        Dictionary<(ITensor Content, bool IsOutByIn), IQuantizedWeight> ready = IsStreamed ? [] : QuantizeAll(modules);
        Report = new QuantizationReport(_format.Name, [.. modules.Select(m => Quantize(model, m, last, ready))]);
        if (modules.Length > 0)
        {
            ImportDomain(model);
        }

        return modules.Length > 0;
    }

    // The type that the product reads, behind any Cast; types of inner values are known only if the file states them.
    private static DataType TypeOf(LinearModule module)
    {
        LinearSite site = module.Sites[0];
        Value read = site.Node.Inputs[site.WeightIndex]!;
        return read.ElementType.IsFloatingPoint() ? read.ElementType
            : site.WeightChain.LastOrDefault(n => n.Is("Cast")) is { } cast ? (DataType)cast.GetInt("to", 0)
            : site.Content.ElementType;
    }

    /// <summary>Quantized weights by content: each is held in the end, so that they may be made side by side.</summary>
    private Dictionary<(ITensor Content, bool IsOutByIn), IQuantizedWeight> QuantizeAll(IEnumerable<LinearModule> modules)
    {
        try
        {
            return modules.Select(m => WeightMatrix.Of(m.Sites[0]))
                .DistinctBy(m => (m.Content, m.IsOutByIn))
                .AsParallel()
                .AsOrdered()
                .Select(m => (Key: (m.Content, m.IsOutByIn), Quantized: _format.Quantize(m)))
                .ToDictionary(m => m.Key, m => m.Quantized);
        }
        catch (AggregateException e)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
            throw;
        }
    }

    private QuantizedLayer Quantize(
        OnnxModel model, LinearModule module, LastUsed<IQuantizedWeight> last, IReadOnlyDictionary<(ITensor Content, bool IsOutByIn), IQuantizedWeight> ready)
    {
        WeightMatrix matrix = WeightMatrix.Of(module.Sites[0]);
        IQuantizedWeight quantized = ready.TryGetValue((matrix.Content, matrix.IsOutByIn), out IQuantizedWeight? made) ? made : last.Get(matrix, () => _format.Quantize(matrix));
        if (IsStreamed)
        {
            quantized = quantized.Streamed(() => last.Get(matrix, () => _format.Quantize(matrix)));
        }

        DataType type = TypeOf(module);
        if (Form == QuantizedForm.Qdq)
        {
            // The dequantization reads initializers only, so it may stand first of all.
            GraphBuilder builder = new(model.Graph, model.Opset, model.Graph.First);
            Value dequantized = quantized.Emit(builder, module.Weight.Name, type);
            foreach (LinearSite site in module.Sites)
            {
                WeightInput.Replace(site, dequantized, isOutByIn: true, model.Opset);
            }
        }
        else
        {
            Int8ProductEmitter emitter = new(
                model,
                Form,
                quantized as EetqWeight ?? throw new ConfigurationException($"The form {Form} takes weights of the format eetq, not {_format.Name}."),
                module.Weight.Name,
                type);
            foreach (LinearSite site in module.Sites)
            {
                emitter.Replace(site);
            }
        }

        return new QuantizedLayer(
            module.Path, matrix.Name, module.InFeatures, module.OutFeatures, matrix.ByteLength, quantized.ByteLength, quantized.Error);
    }

    private void ImportDomain(OnnxModel model)
    {
        switch (Form)
        {
            case QuantizedForm.MatMulInt8:
                model.OpsetImports[OperatorDomains.OrtQLoRA] = OperatorDomains.OrtQLoRAVersion;
                break;
            case QuantizedForm.MatMulNBits:
            case QuantizedForm.Qdq when model.Graph.AllNodes().Any(n => n.Is("DequantizeLinear", OperatorDomains.Microsoft)):
                model.OpsetImports.TryAdd(OperatorDomains.Microsoft, 1);
                break;
            default:
                break;
        }
    }
}
