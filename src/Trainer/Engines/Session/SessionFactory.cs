using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Creates inference sessions from models in memory, with frozen weights shared and options fit for training.</summary>
internal sealed class SessionFactory
{
    /// <summary>
    /// ONNX Runtime's optimizers that work against training. ConstantFolding would turn frozen weights into further copies
    /// (transposed, dequantized); our own passes have folded the small constants already. CommonSubexpressionElimination
    /// would merge the forward and backward dequantization of a weight, so that its float form lives through the whole step.
    /// </summary>
    internal const string HarmfulOptimizers = "ConstantFolding;CommonSubexpressionElimination";

    private readonly EngineOptions _options;
    private readonly FrozenWeights _weights;

    internal SessionFactory(EngineOptions options, FrozenWeights weights)
    {
        _options = options;
        _weights = weights;
    }

    /// <summary>Creates a session.</summary>
    /// <param name="model">The model; not changed.</param>
    /// <param name="role">What the session does, for messages.</param>
    /// <param name="isTraining">Whether this is the training session: the one to profile and to record as CUDA graphs, where that is asked for.</param>
    internal InferenceSession Create(OnnxModel model, string role, bool isTraining = false)
    {
        OnnxModel clone = ModelCloner.Clone(model);
        WeightRematerialization.Run(clone.Graph);
        ExecutionOrder.Reverse(clone.Graph);
        byte[] bytes = _weights.Serialize(clone, out IReadOnlyCollection<string> shared);
        using SessionOptions options = CreateOptions(isTraining);
        _weights.Provide(options, shared);
        try
        {
            return new InferenceSession(bytes, options);
        }
        catch (OnnxRuntimeException e)
        {
            string remedy = isTraining && RecordsGraphs ? " With CUDA graphs every operator must run on the GPU; leave out --cuda-graphs if this one does not." : "";
            throw new EngineException($"ONNX Runtime {OrtEnv.Instance().GetVersionString()} refused the {role} model: {e.Message}{remedy}", e);
        }
    }

    /// <summary>Whether the training session records CUDA graphs.</summary>
    internal bool RecordsGraphs => _options.Device.IsCuda && _options.UseCudaGraphs;

    private SessionOptions CreateOptions(bool isTraining)
    {
        SharedAllocator.Register();
        SessionOptions options = new()
        {
            GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL,
            ExecutionMode = ExecutionMode.ORT_SEQUENTIAL,
            IntraOpNumThreads = PhysicalCores.ThreadsFor(_options.IntraOpThreads),
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,

            // Patterns reserve each step's peak as one block beside the arena's, and batches differ in length anyway.
            EnableMemoryPattern = false,
        };
        Dictionary<string, string> config = new(StringComparer.Ordinal)
        {
            ["session.use_env_allocators"] = "1",
            ["session.use_deterministic_compute"] = "1",
            ["session.disable_prepacking"] = _options.PrepackWeights ? "0" : "1",
            ["session.qdq_matmulnbits_accuracy_level"] = _options.MatMulNBitsAccuracyLevel.ToString(System.Globalization.CultureInfo.InvariantCulture),
            ["optimization.disable_specified_optimizers"] = HarmfulOptimizers,
        };
        foreach ((string key, string value) in config.Concat(_options.SessionConfig))
        {
            options.AddSessionConfigEntry(key, value);
        }

        if (isTraining && _options.ProfilePrefix is string prefix)
        {
            options.ProfileOutputPathPrefix = prefix;
            options.EnableProfiling = true;
        }

        _options.CustomOps?.Register(options);
        if (_options.Device.IsCuda)
        {
            CudaProvider.Append(options, _options, isTraining && RecordsGraphs);
        }

        return options;
    }
}
