using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters;

/// <summary>The shortest way from a model and an adapter to a loss and gradients.</summary>
internal sealed class TrainingGraph : IDisposable
{
    private readonly OnnxModel _model;
    private readonly InferenceSession _session;
    private readonly Dictionary<TrainableParameter, string> _gradients;
    private readonly string _target;

    public TrainingGraph(OnnxModel model, IAdapterMethod method, AdapterConfig config, ILossHead loss, AdapterWeights? start = null, IWeightFormat? format = null, bool isTraining = false)
    {
        _model = model;
        NormalisationPipeline.ForTraining().Run(model);
        BasePreparation preparation = BasePreparation.Run(model, method, config, start, seed: 5, format is null ? null : new BaseQuantization(format, WeightQuantizationPass.IsQuantizedByDefault));
        if (format is not null)
        {
            new WeightQuantizationPass(format).Run(model);
        }

        AdapterInsertionPass pass = new(method, config) { InitialWeights = start, IsTraining = isTraining, Seed = 5, Preparation = preparation };
        pass.Run(model);
        Inserted = pass.Inserted;
        new ShapeInferencePass().Run(model);
        LossAttachment attachment = AdapterLoss.Attach(model, loss, model.Graph.GetValue("logits"), Inserted);
        Value[] parameters = [.. Inserted.Parameters.Select(p => model.Graph.GetValue(p.Name))];
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(model, attachment.Loss, null, parameters);
        foreach (Value output in model.Graph.Outputs.ToArray())
        {
            model.Graph.RemoveOutput(output);
        }

        _gradients = Inserted.Parameters.Zip(parameters).ToDictionary(p => p.First, p => gradients[p.Second].Name);
        _target = attachment.Target.Name;
        model.Graph.AddOutput(attachment.Loss);
        foreach (Value gradient in gradients.Values)
        {
            model.Graph.AddOutput(gradient);
        }

        new DeadNodeEliminationPass().Run(model);
        using SessionOptions options = new() { IntraOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };

        // By default the runtime rounds activations to int8 before products with dequantized weights.
        options.AddSessionConfigEntry("session.qdq_matmulnbits_accuracy_level", "1");
        _session = new InferenceSession(OnnxModelWriter.ToBytes(model), options);
    }

    public InsertedAdapter Inserted { get; }

    /// <summary>Loss and gradients by file key, in the orientation of files.</summary>
    public (float Loss, IReadOnlyDictionary<string, float[]> Gradients) Run(long[][] ids, long[][] labels, long[][]? mask = null)
    {
        Dictionary<string, ITensor> feeds = Inserted.Parameters.ToDictionary(p => p.Name, p => p.InitialValue);
        feeds["input_ids"] = Batch(ids);
        feeds["attention_mask"] = Batch(mask ?? [.. ids.Select(r => r.Select(_ => 1L).ToArray())]);
        feeds[_target] = labels.All(l => l.Length == 1) ? DenseTensor.Vector([.. labels.Select(l => l[0])]) : Batch(labels);
        if (_session.InputNames.Contains("token_type_ids"))
        {
            feeds["token_type_ids"] = Batch([.. ids.Select(r => new long[r.Length])]);
        }

        IReadOnlyDictionary<string, ITensor> outputs = OrtRunner.Run(_session, feeds);
        return (outputs["loss"].ToFloats()[0], _gradients.ToDictionary(g => g.Key.FileKey, g => g.Key.ToFile(outputs[g.Value]).ToFloats()));
    }

    public void Dispose()
    {
        _session.Dispose();
        _model.Dispose();
    }

    private static DenseTensor Batch(long[][] rows) => DenseTensor.Of([rows.Length, rows[0].Length], rows.SelectMany(r => r).ToArray());
}
