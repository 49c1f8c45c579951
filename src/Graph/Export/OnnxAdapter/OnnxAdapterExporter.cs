using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Export.OnnxAdapter;

/// <summary>
/// Splits a trained model into a base that many adapters can share and the content of their <c>.onnx_adapter</c> files: LoRA matrices become optional
/// inputs, and so do weights that were trained themselves, with the base's values as defaults.
/// </summary>
internal static class OnnxAdapterExporter
{
    private const long FirstOpsetWithAxis = 13;
    private const long FirstIrVersionWithOptionalInputs = 4;

    /// <summary>Gives the model its optional inputs.</summary>
    /// <param name="model">The base model as it was in training; changed in place.</param>
    /// <param name="adapters">The adapters with method and configuration; the model gets the inputs that any of them needs.</param>
    /// <param name="type">Element type of the LoRA matrices.</param>
    /// <returns>Each adapter's tensors by input name.</returns>
    /// <exception cref="ConfigurationException">An adapter does not fit the model, or its method cannot stand beside the base.</exception>
    public static IReadOnlyList<IReadOnlyDictionary<string, ITensor>> Split(OnnxModel model, IReadOnlyList<AdapterWeights> adapters, DataType type)
    {
        foreach (AdapterWeights adapter in adapters)
        {
            (IAdapterMethod method, AdapterConfig config) = adapter.RequireConfig();
            DenseWeights.ExpandTrained(model, config);
            ExpandProducts(model, LinearFinder.Find(model), method, config);
        }

        LinearSites sites = LinearFinder.Find(model);
        (AdapterPlan Plan, IReadOnlyDictionary<string, ITensor> Tensors)[] plans = [.. adapters.Select(a => PlanOf(a, sites))];
        OptionalLora branches = new(model, type);
        foreach (IGrouping<string, LoraLayer> layers in plans.Select(p => p.Plan).OfType<LoraPlan>().SelectMany(p => p.Layers).GroupBy(l => l.Module.Path))
        {
            branches.Insert(layers.FirstOrDefault(l => l.Bias is not null) ?? layers.First());
        }

        List<IReadOnlyDictionary<string, ITensor>> results = [];
        foreach ((AdapterPlan plan, IReadOnlyDictionary<string, ITensor> tensors) in plans)
        {
            OrderedDictionary<string, ITensor> parameters = new(StringComparer.Ordinal);
            foreach (TrainedWeight weight in plan.TrainedWeights)
            {
                Open(model, sites, weight, tensors[weight.FileKey], parameters);
            }

            foreach (LoraLayer layer in plan is LoraPlan lora ? lora.Layers : [])
            {
                branches.AddValues(layer, t => tensors[t.FileKey], parameters);
            }

            results.Add(parameters);
        }

        model.IrVersion = Math.Max(model.IrVersion, FirstIrVersionWithOptionalInputs);
        return results;
    }

    private static (AdapterPlan Plan, IReadOnlyDictionary<string, ITensor> Tensors) PlanOf(AdapterWeights adapter, LinearSites sites)
    {
        (IAdapterMethod method, AdapterConfig config) = adapter.RequireConfig();
        AdapterPlan plan = method.Plan(sites, config);
        bool isPlain = plan is LoraPlan { IsPlain: true } || (plan is not LoraPlan && plan.Tensors.Count == 0);
        if (!isPlain)
        {
            throw new ConfigurationException($"Adapters of method '{method.Name}' cannot become an .onnx_adapter in this form: it holds plain LoRA matrices and trained weights, no magnitudes (DoRA), token rows or changed bases (PiSSA and its kin). Export with --to merged, or make plain LoRA of it first (ortqlora adapter convert).");
        }

        if (plan is LoraPlan { Layers: var layers } && layers.FirstOrDefault(l => l.IsConvolution) is { } convolution)
        {
            throw new ConfigurationException($"An .onnx_adapter holds matrices, but '{convolution.Module.Path}' is a convolution. Export with --to merged, or train without it (exclude_modules).");
        }

        return (plan, new InitialValues(adapter, plan).Tensors);
    }

    // A branch reads and adds to floats: where integers are multiplied, both sides are dequantized instead.
    private static void ExpandProducts(OnnxModel model, LinearSites sites, IAdapterMethod method, AdapterConfig config)
    {
        AdapterPlan plan = method.Plan(sites, config);
        foreach (LinearModule module in sites.Modules.Where(m => m.Storage == WeightStorage.IntegerProduct && plan.Tensors.Any(t => t.Name.StartsWith(m.Path + ".", StringComparison.Ordinal))))
        {
            if (model.Opset < FirstOpsetWithAxis)
            {
                throw new ConfigurationException(
                    $"Module '{module.Path}' multiplies integers ({module.Sites[0].Node.Describe()}), which a LoRA branch cannot stand beside below opset {FirstOpsetWithAxis}; the model has opset {model.Opset}. Export with --to merged.");
            }

            foreach (LinearSite site in module.Sites)
            {
                IntegerProduct.Of(site.Node)!.Rewrite(model.Opset);
            }
        }
    }

    // The initializer stays as the default of an input of its name.
    private static void Open(OnnxModel model, LinearSites sites, TrainedWeight weight, ITensor trained, OrderedDictionary<string, ITensor> parameters)
    {
        foreach (ModelParameter parameter in weight.Tied.Prepend(weight.Parameter))
        {
            Value value = parameter.Value;
            if (value.Initializer is not { } content || (weight.IsCopy && sites.Parameters.Any(p => p != parameter && p.Value == value)))
            {
                throw new ConfigurationException(
                    $"The trained weight '{parameter.Name}' {(value.Initializer is null ? "is a Constant node" : "shares its initializer with a weight that was not trained")} and cannot become an input of its own. Export with --to merged.");
            }

            if (!value.IsGraphInput)
            {
                model.Graph.MarkAsInput(value);
                value.Type = content.ToOnnxType();
            }

            parameters[value.Name] = ParameterValues.ToContent(parameter, parameter.IsTransposed ? new TransposedTensor(trained) : trained);
        }
    }
}
