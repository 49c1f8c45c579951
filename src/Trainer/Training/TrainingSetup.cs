using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Graph.Training.OrtTraining;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Engines.OrtTraining;

namespace OrtQLoRA.Trainer.Training;

/// <summary>A model made ready to be trained as options ask: training graph, engine, and the way back to an adapter's files.</summary>
internal sealed class TrainingSetup : IDisposable
{
    private readonly AdapterSettings _settings;
    private readonly TrainingGraph _graph;

    private TrainingSetup(ModelFacts facts, AdapterSettings settings, TrainingGraph graph, ITrainingEngine engine, long frozenParameters)
    {
        Facts = facts;
        _settings = settings;
        _graph = graph;
        Engine = engine;
        FrozenParameters = frozenParameters;
    }

    internal ModelFacts Facts { get; }

    internal TrainingTask Task => _settings.Task;

    internal ITrainingEngine Engine { get; }

    internal TrainingArtifacts Artifacts => _graph.Artifacts;

    internal QuantizationReport Quantization => _graph.Quantization;

    /// <summary>Numbers of the base that are not trained.</summary>
    internal long FrozenParameters { get; }

    /// <summary>What a batch must fill, labels or target included.</summary>
    internal IReadOnlyList<ModelInput> BatchInputs =>
        [.. _graph.Artifacts.UserInputs.Select(n => _graph.Artifacts.TrainingModel.Graph.GetValue(n)).Select(v => new ModelInput(v.Name, v.ElementType, v.Shape))];

    /// <summary>Module paths that carry an adapter or are trained themselves.</summary>
    internal IReadOnlyList<string> AdaptedModules => [.. Engine.Parameters.Select(p => ModuleOf(p.Name)).Distinct()];

    /// <summary>Builds graph and engine.</summary>
    /// <param name="model">The model; must outlive the result.</param>
    /// <param name="facts">Its facts.</param>
    /// <param name="settings">Adapter settings; owned by the result from here on.</param>
    /// <param name="options">The run's options.</param>
    /// <param name="callback">Is told the stages.</param>
    internal static TrainingSetup Create(OnnxModel model, ModelFacts facts, AdapterSettings settings, TrainingOptions options, ITrainingCallback callback)
    {
        if (options.Engine == EngineKind.OrtTraining)
        {
            TrainingRuntime.Require();
        }

        CustomOpLibrary? native = NativeOperators.Find(options, model, callback, options.Engine == EngineKind.Session);
        callback.OnStage(native is null ? "Building the training graph" : $"Building the training graph with native operators ({native.CpuPath})");
        TrainingGraph graph = TrainingGraphSetup.Build(model, facts, settings, options, native, DialectOf(options.Engine));
        try
        {
            callback.OnStage("Creating the sessions");
            EngineOptions engineOptions = new()
            {
                Device = options.Device,
                UseTf32 = options.UseTf32,
                UseCudaGraphs = options.UseCudaGraphs,
                DeviceMemoryLimit = options.DeviceMemory * 1_000_000,
                IntraOpThreads = options.Threads,
                PrepackWeights = options.PrepackWeights,
                ProfilePrefix = options.Profile,
                CustomOps = native,
            };
            ITrainingEngine engine = options.Engine == EngineKind.OrtTraining
                ? new OrtTrainingEngine(graph.Artifacts, engineOptions)
                : new SessionTrainingEngine(graph.Artifacts, engineOptions);
            long trainedOfBase = graph.Adapter.Plan.TrainedWeights.Sum(w => w.Parameter.Content.ElementCount());
            long all = model.Graph.Initializers.Where(i => i.Initializer!.ElementType.IsFloatingPoint()).Sum(i => i.Initializer!.ElementCount());
            ITrainingEngine hooked = graph.Adapter.Plan.CreateTrainingHook() is { } hook ? new AdapterEngine(engine, hook, options.MaxGradNorm) : engine;

            // What building leaves behind would stay until the heap has grown by as much again, which training hardly makes it do.
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            return new TrainingSetup(facts, settings, graph, hooked, all - trainedOfBase);
        }
        catch
        {
            graph.Dispose();
            throw;
        }
    }

    /// <summary>Tells the adapter's own work how long the run is.</summary>
    internal void SetTotalSteps(long steps)
    {
        if (Engine is AdapterEngine hooked)
        {
            hooked.TotalSteps = steps;
        }
    }

    /// <summary>Writes the adapter with the engine's present parameters.</summary>
    internal void SaveAdapter(string folder)
    {
        using AdapterWeights weights = _graph.Adapter.ToWeights(Engine.GetParameter);
        PeftAdapterFolder.Write(folder, weights);
    }

    public void Dispose()
    {
        Engine.Dispose();
        _graph.Dispose();
        _settings.Dispose();
    }

    /// <summary>The training session sums micro-batches as they are, so the graph takes their weights as an input.</summary>
    private static ArtifactDialect DialectOf(EngineKind engine) => engine == EngineKind.OrtTraining
        ? new OrtTrainingDialect(new OrtTrainingOptions { HasEngineInputs = true })
        : SessionDialect.Instance;

    private static string ModuleOf(string parameter)
    {
        int end = parameter.IndexOf(".lora_", StringComparison.Ordinal);
        end = end < 0 ? parameter.LastIndexOf('.') : end;
        return end < 0 ? parameter : parameter[..end];
    }
}
