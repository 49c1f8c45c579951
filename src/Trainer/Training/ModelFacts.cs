using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Training;

/// <summary>What data and losses need to know of a model.</summary>
/// <param name="Inputs">What a batch must fill.</param>
/// <param name="LossOutput">The output that the loss is taken of.</param>
/// <param name="VocabularySize">Number of token ids, if the embedding tells.</param>
/// <param name="ClassCount">Length of the loss output's last axis, if known.</param>
public sealed record ModelFacts(IReadOnlyList<ModelInput> Inputs, string LossOutput, long? VocabularySize, long? ClassCount)
{
    private const string LogitsName = "logits";

    /// <summary>Tokens for which the model has learned positions; null if it has no table of them.</summary>
    public int? ContextLength { get; init; }

    /// <summary>Reads the facts off a model.</summary>
    /// <param name="model">The model as its file has it.</param>
    /// <param name="lossOutput">Name of the output to take the loss of; null for <c>logits</c> or the only floating-point output.</param>
    /// <exception cref="ConfigurationException">There is no such output, or several that could be meant.</exception>
    public static ModelFacts Read(OnnxModel model, string? lossOutput = null)
    {
        LinearSites sites = LinearFinder.Find(model);
        Value output = FindLossOutput(model.Graph, lossOutput);
        return new ModelFacts(
            [.. model.Graph.RequiredInputs.Select(i => new ModelInput(i.Name, i.ElementType, i.Shape))],
            output.Name,
            sites.Modules.FirstOrDefault(m => m.Kind == LinearKind.Embedding && m.Sites.Any(s => ComesFrom(s.Input, "input_ids")))?.InFeatures,
            (output.Shape is { Rank: > 0 } shape ? shape[-1].Value : null) ?? sites.Modules.FirstOrDefault(m => m.IsOutputHead)?.OutFeatures)
        {
            ContextLength = (int?)PositionTables.ContextLength(sites),
        };
    }

    /// <summary>Inputs that lines must bring by name.</summary>
    internal IReadOnlyCollection<string> OtherInputs => [.. Inputs.Select(i => i.Name).Except(ModelInput.TokenInputs).Where(n => !ModelInput.IsCache(n))];

    /// <summary>Whether the model takes token ids.</summary>
    internal bool NeedsTokens => Inputs.Any(i => i.Name == "input_ids");

    private static Value FindLossOutput(OnnxGraph graph, string? name)
    {
        string all = string.Join(", ", graph.Outputs.Select(o => o.Name));
        if (name is not null)
        {
            return graph.Outputs.FirstOrDefault(o => o.Name == name)
                ?? throw new ConfigurationException($"--loss-output names '{name}', which the model does not have; its outputs are {all}.");
        }

        Value[] candidates =
        [
            .. graph.Outputs.Where(o => (o.ElementType.IsFloatingPoint() || o.ElementType == DataType.Undefined) && !o.Name.StartsWith("present", StringComparison.Ordinal)),
        ];
        return candidates.FirstOrDefault(o => o.Name == LogitsName)
            ?? (candidates.Length == 1 ? candidates[0] : throw new ConfigurationException(
                $"Which output the loss is taken of is not clear: the model has {all}, none of them named '{LogitsName}'. Name one with --loss-output."));
    }

    /// <summary>Whether a value is a graph input behind casts and the like.</summary>
    private static bool ComesFrom(Value value, string input)
    {
        while (value.Producer is { OpType: "Cast" or "Identity" or "Reshape" } node && node.Inputs[0] is Value source)
        {
            value = source;
        }

        return value.IsGraphInput && value.Name == input;
    }
}
