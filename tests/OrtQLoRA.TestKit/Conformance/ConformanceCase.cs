using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.TestKit.Conformance;

/// <summary>A model and a way to train it on which engines must agree, with made-up batches.</summary>
/// <param name="ModelName"><c>demo</c> or a fixture's path.</param>
/// <param name="Task">The task.</param>
/// <param name="Method">What is trained.</param>
/// <param name="Quantization">How the frozen weights are kept.</param>
public sealed record ConformanceCase(string ModelName, TrainingTask Task, string Method, QuantizationKind Quantization)
{
    /// <summary>Micro-batches of an optimizer step.</summary>
    public const int Accumulation = 2;

    /// <summary>Optimizer steps.</summary>
    public const int Steps = 20;

    /// <summary>The only learning rate that the session in the browser knows.</summary>
    public const double LearningRate = 0.001;

    private const int Rows = 2;
    private const int Length = 6;

    /// <summary>A decoder, a converted one and a classifier; LoRA over fp32 and int8 weights, and all parameters.</summary>
    public static IEnumerable<object[]> All =>
        from model in new (string Name, TrainingTask Task)[]
        {
            ("demo", TrainingTask.CausalLm),
            ("models/aidreams260k.onnx", TrainingTask.CausalLm),
            ("exports/ts17_bert_sequence_classifier/model.onnx", TrainingTask.SequenceClassification),
        }
        from way in new[] { ("lora", QuantizationKind.None), ("lora", QuantizationKind.Eetq), ("full", QuantizationKind.None) }
        select new object[] { model.Name, model.Task, way.Item1, way.Item2 };

    /// <summary>Path of the model; a test that asks for an absent fixture is skipped.</summary>
    public string Model => ModelName == "demo" ? Path.Combine(Fixtures.RepositoryRoot()!, "demo", "model.onnx") : Fixtures.Require(ModelName);

    /// <summary>Options of the run.</summary>
    public TrainingOptions Options(string output) => new()
    {
        Model = Model,
        Out = output,
        Task = Task,
        Method = Method,
        Quantization = Quantization,
        Rank = Method == "lora" ? 4 : null,
        InitLoraWeights = Method == "lora" ? "gaussian" : null,
        GradientAccumulation = Accumulation,
        LearningRate = LearningRate,
        MaxGradNorm = 1,
        Ops = OpsMode.Portable,
    };

    /// <summary>Batches of a run: one for each micro-batch, then one to evaluate.</summary>
    /// <param name="facts">Facts of the model.</param>
    public IReadOnlyList<IReadOnlyDictionary<string, DenseTensor>> Batches(ModelFacts facts)
    {
        ArgumentNullException.ThrowIfNull(facts);
        Random random = new(5);
        return [.. Enumerable.Range(0, (Steps * Accumulation) + 1).Select(_ => Batch(facts, random))];
    }

    private Dictionary<string, DenseTensor> Batch(ModelFacts facts, Random random)
    {
        long[] dims = [Rows, Length];
        Dictionary<string, DenseTensor> batch = [];
        foreach (ModelInput input in facts.Inputs)
        {
            long[] values = [.. Enumerable.Range(0, Rows * Length).Select(_ => input.Name switch
            {
                "input_ids" => random.NextInt64(1, Math.Min(facts.VocabularySize ?? 64, 64)),
                "attention_mask" => 1L,
                _ => 0L,
            })];
            batch[input.Name] = DenseTensor.Of(dims, values);
        }

        batch["labels"] = Task == TrainingTask.CausalLm
            ? batch["input_ids"]
            : DenseTensor.Of([Rows], [.. Enumerable.Range(0, Rows).Select(_ => random.NextInt64(facts.ClassCount ?? 2))]);
        return batch;
    }
}
