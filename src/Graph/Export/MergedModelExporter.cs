using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// Merges an adapter into the original model: only the contents of initializers change, in their own orientation and
/// element type; graph, names, inputs, outputs and metadata stay. Values are computed when the model is written.
/// </summary>
/// <remarks>
/// Two cases need more than other contents: a weight that is shared with a module that does not change (tied embedding and
/// head) is split, and <c>lora_bias</c> on a module without bias adds one Add node, where PEFT refuses to merge.
/// </remarks>
public static class MergedModelExporter
{
    /// <summary>Merges an adapter into a model in place.</summary>
    /// <param name="model">
    /// The original model, freshly read. It must stay alive, and so must the adapter, until the merged model is written.
    /// </param>
    /// <param name="adapter">The adapter with method and configuration.</param>
    /// <param name="options">Onto which base to merge; by default onto the original weights.</param>
    /// <exception cref="ConfigurationException">The adapter does not fit the model; every mismatch is listed.</exception>
    public static void Merge(OnnxModel model, AdapterWeights adapter, MergeOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(adapter);
        (IAdapterMethod method, AdapterConfig config) = adapter.RequireConfig();
        options ??= new MergeOptions();
        if (model.Functions.Count == 0 && !SliceBoundsPass.IsNeeded(model))
        {
            Merge(model, adapter, method, config, options);
            return;
        }

        // Weights may be read inside functions, or cut at computed bounds: they are found in a copy without, and changed in the
        // original by name.
        OnnxModel inlined = ModelCloner.Clone(model);
        new FunctionInliningPass().Run(inlined);
        new SliceBoundsPass().Run(inlined);
        MergedInitializers changes = Merge(inlined, adapter, method, config, options);
        if (changes.ChangedStructure)
        {
            throw new ConfigurationException(
                "The adapter changes one of two modules that share a weight, or adds a bias, and the model reads weights inside functions or cuts them at computed bounds, where that cannot be expressed. Inline the model's functions and fold its constants first.");
        }

        foreach (string name in changes.Replaced)
        {
            if (!model.Graph.TryGetValue(name, out Value? value))
            {
                throw new ConfigurationException($"Weight '{name}' is a constant inside a function of the model and cannot be changed for one call. Inline the model's functions first.");
            }

            MergedInitializers.SetContent(value, ConstantContent.DefaultOf(inlined.Graph.GetValue(name))!);
        }
    }

    /// <summary>Makes a model the base that an adapter was trained on: quantized layers become their dequantized selves.</summary>
    /// <param name="model">The original model without functions, freshly read; it must stay alive until the result is written.</param>
    /// <param name="config">The adapter's configuration.</param>
    /// <param name="options">How the base was kept in training.</param>
    internal static void PrepareBase(OnnxModel model, AdapterConfig config, MergeOptions options) =>
        PrepareBase(model, options.Format, QuantizedModules.Beside(config, options.KeptModules));

    /// <summary>Makes a model the base that adapters were trained on, whose modules were quantized or not.</summary>
    internal static void PrepareBase(OnnxModel model, IWeightFormat? format, Func<LinearModule, bool> isQuantized) =>
        new WeightMerge(LinearFinder.Find(model), null).Apply(format, isQuantized);

    private static MergedInitializers Merge(OnnxModel model, AdapterWeights adapter, IAdapterMethod method, AdapterConfig config, MergeOptions options)
    {
        bool expandedTrained = DenseWeights.ExpandTrained(model, config);
        LinearSites original = LinearFinder.Find(model);
        QuantizedModules.RequireFound(original, options.KeptModules);
        AdapterPlan first = method.Plan(original, config);
        LinearModule[] expanded = [.. DenseWeights.Quantized(original).Where(m => first.Tensors.Any(t => t.Name.StartsWith(m.Path + ".", StringComparison.Ordinal)))];
        DenseWeights.Expand(model, expanded);
        BasePreparation preparation = BasePreparation.Run(
            model, method, config, adapter, seed: 0, options.Format is null ? null : new BaseQuantization(options.Format, QuantizedModules.Beside(config, options.KeptModules)));
        if (options.IsUnmerge && preparation.Replaced.Count > 0)
        {
            throw new ConfigurationException(
                "The adapter's start changed the base's own weights (pissa, olora, loftq, corda), so that it cannot be taken out of a merged model. Make plain LoRA of it with 'ortqlora adapter convert' and take that out, or use the base model's own file.");
        }

        LinearSites sites = LinearFinder.Find(model);
        AdapterPlan plan = method.Plan(sites, config);
        if (plan.MergeObstacle is { } obstacle)
        {
            throw new ConfigurationException(obstacle);
        }

        WeightMerge merge = new(sites, new InitialTensors(plan, adapter, seed: 0)) { IsUnmerge = options.IsUnmerge };
        foreach (TrainedWeight weight in plan.TrainedWeights)
        {
            merge.Replace(weight);
        }

        plan.Merge(merge);
        merge.Apply(options.Format, QuantizedModules.Beside(config, options.KeptModules));
        merge.Initializers.TakeOver(preparation);
        merge.Initializers.ChangedStructure |= expandedTrained || expanded.Length > 0;
        return merge.Initializers;
    }
}
