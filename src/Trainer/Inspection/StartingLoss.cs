using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Evaluation;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Inspection;

/// <summary>
/// The loss before the first step: of the model as it is, quantized, and quantized with LoftQ's start, whose adapter makes up for
/// what quantization took.
/// </summary>
public static class StartingLoss
{
    /// <summary>Measures.</summary>
    /// <param name="options">Model, data and what is needed to read them; targets and LoftQ's iterations.</param>
    /// <param name="ranks">Ranks of LoftQ's adapters.</param>
    /// <param name="callback">Is told the stages; null for nobody.</param>
    /// <returns>The float base, the quantized base, then one result for each rank.</returns>
    /// <exception cref="ConfigurationException">Options are wrong or do not fit the model.</exception>
    public static IReadOnlyList<StartingLossResult> Measure(TrainingOptions options, IReadOnlyList<int> ranks, ITrainingCallback? callback = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(ranks);
        List<string> faults = [];
        if (options.Model.Length == 0)
        {
            faults.Add("No model is given: pass --model with the ONNX file.");
        }

        if (options.Data.Length == 0)
        {
            faults.Add("No data is given: pass --data with the texts to take the loss of.");
        }

        faults.AddRange(ranks.Where(r => r < 1).Select(r => $"--ranks holds {r}; ranks must be at least 1."));
        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }

        callback ??= NullCallback.Instance;
        QuantizationKind kind = options.Quantization == QuantizationKind.None ? QuantizationKind.Eetq : options.Quantization;
        TrainingOptions Variant(QuantizationKind quantization, string start, int rank)
        {
            TrainingOptions variant = options.Copy();
            variant.Method = "lora";
            variant.Quantization = quantization;
            variant.InitLoraWeights = start;
            variant.Rank = rank;
            variant.Alpha ??= rank;
            return variant;
        }

        return
        [
            Measure(Variant(QuantizationKind.None, "default", 1), "float", null, callback),
            Measure(Variant(kind, "default", 1), OptionText.Name(kind), null, callback),
            .. ranks.Select(r => Measure(Variant(kind, "loftq", r), $"{OptionText.Name(kind)}, loftq", r, callback)),
        ];
    }

    private static StartingLossResult Measure(TrainingOptions options, string name, int? rank, ITrainingCallback callback)
    {
        using TrainingMaterial material = TrainingMaterial.Read(options, null, callback);
        TrainingSetup setup = material.Setup;
        string output = setup.Facts.LossOutput;
        EvaluationResult result = Evaluator.Run(
            material.Examples, options, material.Collator, setup.Task, batch => setup.Engine.EvalStep(batch.Inputs, output).Outputs[output]);
        return new StartingLossResult(name, rank, result.Loss);
    }
}
