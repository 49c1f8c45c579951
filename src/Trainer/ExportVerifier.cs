using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Checkpoints;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Generation;
using OrtQLoRA.Trainer.OnnxAdapters;
using OrtQLoRA.Trainer.Runs;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer;

/// <summary>Compares an exported model, in a plain session with default options, with the graph that was trained.</summary>
public static class ExportVerifier
{
    /// <summary>Runs both models on the same examples.</summary>
    /// <param name="run">The run: its base model with its adapter is the graph that was trained.</param>
    /// <param name="exportedModel">The exported model.</param>
    /// <param name="dataPath">Data in the form that the run was trained on.</param>
    /// <param name="exampleCount">Examples to take, from the first on.</param>
    /// <param name="onnxAdapter">An <c>.onnx_adapter</c> file to activate on the exported model; null for none.</param>
    /// <param name="usesOperators">Whether the exported model needs the native operators.</param>
    /// <param name="isExact">
    /// Whether weights behind DequantizeLinear are multiplied in full precision; by default ONNX Runtime rounds activations to int8 there.
    /// </param>
    /// <returns><c>|exported - trained| / |trained|</c> over all outputs of the kind the loss was taken of.</returns>
    /// <exception cref="ConfigurationException">The run's model or adapter is gone or does not fit.</exception>
    /// <exception cref="EngineException">ONNX Runtime refuses the exported model.</exception>
    public static double RelativeDifference(RunFolder run, string exportedModel, string dataPath, int exampleCount = 8, string? onnxAdapter = null, bool usesOperators = false, bool isExact = false)
    {
        TrainingOptions options = run.ReadOptions();
        options.InitAdapter = run.AdapterFolder;
        using OnnxModel model = BaseModel.Read(options.Model, options.BaseWeights);
        ModelFacts facts = ModelFacts.Read(model, options.LossOutput);
        AdapterSettings settings = AdapterSettings.Create(options);
        using TrainingSetup setup = TrainingSetup.Create(model, facts, settings, options, NullCallback.Instance);
        using DataSetup data = new(facts, setup.Task, options);
        DataCollator collator = data.CreateCollator(setup.BatchInputs, setup.Task);
        using InferenceSession exported = Open(exportedModel, usesOperators, isExact);
        using ActiveAdapter? adapter = onnxAdapter is null ? null : ActiveAdapter.Load(onnxAdapter);
        ModelSettings files = ModelSettings.Read(exported.ModelMetadata.CustomMetadataMap, exportedModel);
        double difference = 0;
        double norm = 0;

        // One at a time: fused attention gives padded places results of its own.
        foreach (TrainingExample[] chunk in data.Read(dataPath).Take(exampleCount).Chunk(collator.KeepsBatchWhole ? options.Batch : 1))
        {
            Batch batch = collator.Collate(chunk);
            DenseTensor output = setup.Engine.EvalStep(batch.Inputs, facts.LossOutput).Outputs[facts.LossOutput];
            float[] expected = output.ToFloats();
            float[] actual = Run(exported, adapter, batch, files, facts.LossOutput);
            bool[]? isPadding = Padding(batch, output);
            int width = isPadding is null ? 1 : expected.Length / isPadding.Length;
            for (int i = 0; i < expected.Length; i++)
            {
                if (isPadding?[i / width] == true)
                {
                    continue;
                }

                double d = (double)actual[i] - expected[i];
                difference += d * d;
                norm += (double)expected[i] * expected[i];
            }
        }

        return Math.Sqrt(difference / norm);
    }

    /// <summary>
    /// Why ONNX Runtime does not run a run's base model, or null if it does. Of bfloat16 models the CPU provider
    /// knows few operators; what was made of them can then not be run either, and is no worse for it.
    /// </summary>
    public static string? WhyBaseDoesNotRun(RunFolder run)
    {
        try
        {
            using InferenceSession session = Open(ModelFolder.Resolve(run.ReadOptions().Model), usesOperators: false);
            return null;
        }
        catch (EngineException e)
        {
            return e.InnerException?.Message ?? e.Message;
        }
    }

    // Fused attention gives padded places results of its own, in rows that the data pad themselves too.
    private static bool[]? Padding(Batch batch, DenseTensor output) =>
        batch.Inputs.GetValueOrDefault("attention_mask") is { Dims: [long rows, long length] } mask && output.Dims is [var outputRows, var outputLength, _] && outputRows == rows && outputLength == length
            ? Array.ConvertAll(mask.ToInt64s(), m => m == 0)
            : null;

    private static InferenceSession Open(string path, bool usesOperators, bool isExact = false)
    {
        try
        {
            using SessionOptions options = new() { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
            if (isExact)
            {
                options.AddSessionConfigEntry("session.qdq_matmulnbits_accuracy_level", "1");
            }

            if (usesOperators)
            {
                CustomOpLibrary.Load().Register(options);
            }

            return new InferenceSession(path, options);
        }
        catch (OnnxRuntimeException e)
        {
            throw new EngineException($"ONNX Runtime cannot open the exported model '{path}': {e.Message}", e);
        }
    }

    private static float[] Run(InferenceSession session, ActiveAdapter? adapter, Batch batch, ModelSettings files, string output)
    {
        Dictionary<string, OrtValue> inputs = [];
        try
        {
            foreach ((string name, NodeMetadata metadata) in session.InputMetadata)
            {
                inputs[name] = batch.Inputs.TryGetValue(name, out DenseTensor? tensor)
                    ? Copy(tensor)
                    : DecoderInputs.WithoutPast(name, metadata, files, batch.Examples.Count);
            }

            using RunOptions options = new();
            adapter?.Activate(options);

            using IDisposableReadOnlyCollection<OrtValue> outputs = session.Run(options, inputs, [output]);
            return Engines.Session.TensorCopy.Of(outputs[0]).ToFloats();
        }
        finally
        {
            foreach (OrtValue input in inputs.Values)
            {
                input.Dispose();
            }
        }
    }

    private static OrtValue Copy(DenseTensor tensor)
    {
        OrtValue value = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, (TensorElementType)tensor.ElementType, [.. tensor.Dims]);
        tensor.Data.Span.CopyTo(value.GetTensorMutableRawData());
        return value;
    }
}
