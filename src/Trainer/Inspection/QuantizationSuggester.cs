using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Checkpoints;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Sensitivity;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Inspection;

/// <summary>Finds out what int8 costs each layer of a model, and what to do about it.</summary>
public static class QuantizationSuggester
{
    /// <summary>PEFT's default rank, for suggestions without one.</summary>
    private const int DefaultRank = 8;

    /// <summary>
    /// Positions of the data at which layers are compared. A relative error over some hundred positions varies by a few percent of
    /// itself.
    /// </summary>
    private const int MostPositions = 512;

    /// <summary>Measures and decides.</summary>
    /// <param name="options">
    /// The model; the adapter's rank and targets; data with what is needed to read them, if the error of outputs is to be measured.
    /// </param>
    /// <param name="errorLimit">The relative error above which a layer is to stay as it is; null for outliers.</param>
    /// <param name="callback">Is told the stages; null for nobody.</param>
    /// <exception cref="ConfigurationException">Options are wrong, or the model has no layer that could be quantized.</exception>
    public static QuantizationAdvice Suggest(TrainingOptions options, double? errorLimit = null, ITrainingCallback? callback = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (errorLimit is not (null or > 0))
        {
            throw new ConfigurationException($"--max-error is {errorLimit}; it must be a relative error above 0, for example 0.02.");
        }

        callback ??= NullCallback.Instance;
        using OnnxModel model = BaseModel.Read(options.Model, options.BaseWeights);
        LinearSites sites = TrainingForm.SitesOf(model);
        LinearModule[] modules = [.. sites.Modules.Where(WeightQuantizationPass.IsQuantizedByDefault)];
        if (modules.Length == 0)
        {
            throw new ConfigurationException($"{options.Model} has no linear layer with a float weight that could be quantized.");
        }

        TargetModuleMatcher matcher = new(new TargetOptions
        {
            TargetModules = options.Targets ?? ModuleSelector.AllLinear,
            ExcludeModules = options.ExcludeModules,
            ModulesToSave = options.ModulesToSave ?? [],
            LayersToTransform = options.LayersToTransform,
        });
        HashSet<string> adapted = [.. matcher.Select(sites).Select(m => m.Path)];
        int rank = options.Rank ?? DefaultRank;
        IReadOnlyDictionary<string, IReadOnlyList<Matrix>> inputs = options.Data.Length == 0
            ? new Dictionary<string, IReadOnlyList<Matrix>>()
            : Observe(model, modules, options, callback);
        callback.OnStage($"Quantizing {modules.Length} layers");
        IWeightFormat format = WeightFormatRegistry.Default.Get(OptionText.Name(options.Quantization == QuantizationKind.None ? QuantizationKind.Eetq : options.Quantization));
        LayerSensitivity[] layers =
        [
            .. modules.Select(m => SensitivityAnalysis.Measure(m, format, inputs.GetValueOrDefault(m.Path), adapted.Contains(m.Path) ? 2 * rank : 0)),
        ];
        return QuantizationAdvisor.Advise(layers, adapted.Contains, rank, errorLimit);
    }

    private static Dictionary<string, IReadOnlyList<Matrix>> Observe(OnnxModel model, LinearModule[] modules, TrainingOptions options, ITrainingCallback callback)
    {
        ModelFacts facts = ModelFacts.Read(model, options.LossOutput);
        TrainingTask task = options.Task ?? TrainingTask.CausalLm;
        using DataSetup data = new(facts, task, options, callback.OnWarning);
        IReadOnlyList<TrainingExample> examples = data.Read(options.Data);
        string[] observed = [.. modules.Where(m => !m.Sites[0].IsWeightLeft).Select(m => m.Path)];
        callback.OnStage("Looking at the layers' inputs");
        LayerStatistics statistics = LayerStatistics.Collect(model, observed, examples, data.CreateCollator(facts.Inputs, task), MostPositions);
        return observed.ToDictionary(p => p, p => statistics.Inputs(p, countedOnly: false), StringComparer.Ordinal);
    }
}
