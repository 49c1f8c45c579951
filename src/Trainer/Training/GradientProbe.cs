using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Loss and gradients of a model for one batch: the way to check any graph against a framework.</summary>
public static class GradientProbe
{
    /// <summary>Computes them on ONNX Runtime.</summary>
    /// <param name="model">The model; not changed.</param>
    /// <param name="loss">Loss head.</param>
    /// <param name="lossOutput">Graph output that the loss is taken of; null for <c>logits</c> or the only floating-point one.</param>
    /// <param name="batch">A tensor for each graph input and for the loss head's labels or target.</param>
    /// <param name="withRespectTo">Names of initializers; null for every floating-point one.</param>
    /// <param name="options">How the session runs.</param>
    /// <returns>The loss, and the gradients by initializer name, float, in the initializer's own orientation.</returns>
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
        HashSet<string> wanted = Choose(model, withRespectTo);
        string output = ModelFacts.Read(model, lossOutput).LossOutput;
        OnnxModel work = ModelCloner.Clone(model);
        NormalisationPipeline.ForTraining(v => wanted.Contains(v.Name)).Run(work);
        OnnxGraph graph = work.Graph;
        LossAttachment attachment = loss.Attach(work, graph.Outputs.First(o => o.Name == output));
        Value[] initializers = [.. graph.Initializers.Where(i => wanted.Contains(i.Name))];
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(work, attachment.Loss, null, initializers);

        foreach (Value original in graph.Outputs.ToArray())
        {
            graph.RemoveOutput(original);
        }

        graph.AddOutput(attachment.Loss);
        GraphBuilder builder = new(graph, work.Opset);
        Dictionary<string, string> outputOf = [];
        foreach (Value initializer in initializers)
        {
            Value gradient = builder.Cast(gradients[initializer], DataType.Float);
            graph.AddOutput(gradient);
            outputOf[initializer.Name] = gradient.Name;
        }

        new DeadNodeEliminationPass().Run(work);
        return Run(work, batch, outputOf, options);
    }

    private static (double Loss, IReadOnlyDictionary<string, DenseTensor> Gradients) Run(
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

    private static HashSet<string> Choose(OnnxModel model, IReadOnlyCollection<string>? names)
    {
        Dictionary<string, Value> known = model.Graph.Initializers.Where(i => i.Initializer!.ElementType.IsFloatingPoint()).ToDictionary(i => i.Name);
        if (names is null)
        {
            return [.. known.Values.Where(v => v.IsUsed).Select(v => v.Name)];
        }

        string[] faults = [.. names.Where(n => !known.ContainsKey(n)).Select(n => $"--wrt names '{n}', which is no floating-point initializer of the model.")];
        return faults.Length == 0 ? [.. names] : throw new ConfigurationException(faults);
    }
}
