using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Loss and gradients of a model for one batch: the way to check any graph against a framework.</summary>
public static class GradientProbe
{
    private const string DequantizedSuffix = ".dequantized";

    /// <summary>Computes them on ONNX Runtime.</summary>
    /// <param name="model">The model; not changed.</param>
    /// <param name="loss">Loss head.</param>
    /// <param name="lossOutput">Graph output that the loss is taken of; null for <c>logits</c> or the only floating-point one.</param>
    /// <param name="batch">A tensor for each graph input and for the loss head's labels or target.</param>
    /// <param name="withRespectTo">
    /// Names of initializers, those of quantized weights with <c>.dequantized</c> behind; null for every weight: floating-point
    /// initializers but scales of quantized weights, and quantized weights.
    /// </param>
    /// <param name="options">How the session runs.</param>
    /// <returns>The loss, and the gradients by initializer name, float, in the initializer's own orientation; for a quantized weight, under its name with
    /// <c>.dequantized</c> behind, that of the numbers that the product reads, <c>[N, K]</c> for MatMulNBits.</returns>
    /// <exception cref="ConfigurationException">A name is no floating-point initializer of the model, or the batch lacks an input.</exception>
    /// <exception cref="UnsupportedOpException">An operator on the way has no gradient rule.</exception>
    public static (double Loss, IReadOnlyDictionary<string, DenseTensor> Gradients) Compute(
        OnnxModel model,
        ILossHead loss,
        string? lossOutput,
        IReadOnlyDictionary<string, DenseTensor> batch,
        IReadOnlyCollection<string>? withRespectTo = null,
        EngineOptions? options = null)
    {
        string output = ModelFacts.Read(model, lossOutput).LossOutput;
        OnnxModel work = ModelCloner.Clone(model);
        HashSet<string> floats = [.. model.Graph.Initializers.Where(i => i.ElementType.IsFloatingPoint()).Select(i => i.Name)];
        NormalisationPipeline.ForTrainingWithoutCache(v => floats.Contains(v.Name)).Run(work);
        OnnxGraph graph = work.Graph;
        LossAttachment attachment = loss.Attach(work, graph.Outputs.First(o => o.Name == output));
        Dictionary<string, Value> weights = Choose(model, work, withRespectTo);
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(work, attachment.Loss, null, weights.Values);

        foreach (Value original in graph.Outputs.ToArray())
        {
            graph.RemoveOutput(original);
        }

        graph.AddOutput(attachment.Loss);
        GraphBuilder builder = new(graph, work.Opset);
        Dictionary<string, string> outputOf = [];
        foreach ((string name, Value weight) in weights)
        {
            Value gradient = builder.Cast(gradients[weight], DataType.Float);
            graph.AddOutput(gradient);
            outputOf[name] = gradient.Name;
        }

        new DeadNodeEliminationPass().Run(work);
        (double value, Dictionary<string, DenseTensor> results) = Run(work, batch, outputOf, options);

        // What the chosen branch of the model does not read at all.
        foreach (string name in withRespectTo?.Where(n => !results.ContainsKey(n)) ?? [])
        {
            ITensor content = model.Graph.GetValue(name).Initializer!;
            results[name] = DenseTensor.Of(content.Dims, new float[content.ElementCount()]);
        }

        return (value, results);
    }

    private static (double Loss, Dictionary<string, DenseTensor> Gradients) Run(
        OnnxModel work, IReadOnlyDictionary<string, DenseTensor> batch, Dictionary<string, string> outputOf, EngineOptions? options)
    {
        using GraphRunner runner = new(work, options);
        string[] missing = [.. runner.InputNames.Where(i => !batch.ContainsKey(i))];
        if (missing.Length > 0)
        {
            throw new ConfigurationException(
                $"The batch lacks {string.Join(", ", missing.Select(m => $"'{m}'"))}; it has {string.Join(", ", batch.Keys)}, the model needs {string.Join(", ", runner.InputNames)}.");
        }

        IReadOnlyDictionary<string, DenseTensor> results = runner.Run(batch, [ArtifactNames.Loss, .. outputOf.Values]);
        return (results[ArtifactNames.Loss].ToFloats()[0], outputOf.ToDictionary(p => p.Key, p => results[p.Value]));
    }

    private static bool IsFloat(OnnxModel model, string name) =>
        model.Graph.TryGetValue(name, out Value? value) && value.Initializer?.ElementType.IsFloatingPoint() == true;

    // Names of the original model to values of the normalised one.
    private static Dictionary<string, Value> Choose(OnnxModel model, OnnxModel work, IReadOnlyCollection<string>? names)
    {
        Dictionary<string, Value> known = [];
        foreach (Value initializer in work.Graph.Initializers.Where(i => i.ElementType.IsFloatingPoint() && model.Graph.TryGetValue(i.Name, out Value? original) && original.Initializer is not null))
        {
            known[initializer.Name] = initializer;
        }

        HashSet<string> quantizers = [];
        foreach (LinearSite site in LinearFinder.Find(work).Sites.Where(s => s.Storage != WeightStorage.Dense))
        {
            Node dequantization = site.WeightChain.Last(n => !n.Is("Transpose") && !n.Is("Identity"));
            known[site.Weight.Name + DequantizedSuffix] = dequantization.Outputs[0];
            quantizers.UnionWith(site.WeightChain.SelectMany(n => n.Inputs).OfType<Value>().Select(v => v.Name));
        }

        if (names is null)
        {
            return known.Where(p => p.Value.IsUsed && !quantizers.Contains(p.Key)).ToDictionary();
        }

        string[] faults = [.. names.Where(n => !known.ContainsKey(n) && !IsFloat(model, n)).Select(n => n.EndsWith(DequantizedSuffix, StringComparison.Ordinal)
            ? $"--wrt names '{n}', which is no quantized weight of a linear layer or embedding."
            : $"--wrt names '{n}', which is no floating-point initializer of the model.")];
        return faults.Length == 0 ? names.Distinct().Where(known.ContainsKey).ToDictionary(n => n, n => known[n]) : throw new ConfigurationException(faults);
    }
}
