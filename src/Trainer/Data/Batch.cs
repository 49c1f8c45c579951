using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Data;

/// <summary>One micro-batch, ready to be fed.</summary>
public sealed class Batch
{
    /// <summary>Tensors by graph input, labels or target included.</summary>
    public required IReadOnlyDictionary<string, DenseTensor> Inputs { get; init; }

    /// <summary>The examples in the order of the rows.</summary>
    public required IReadOnlyList<TrainingExample> Examples { get; init; }

    /// <summary>
    /// Over how many terms the loss is a mean: targets that are not -100 (after the shift, for causal models), rows, or
    /// numbers to reach.
    /// </summary>
    public required long CountedTargets { get; init; }

    /// <summary>Tokens attended to, padding not counted.</summary>
    public required long Tokens { get; init; }

    /// <summary>The lines the batch comes from, for messages.</summary>
    public string Describe()
    {
        string[] sources = [.. Examples.SelectMany(e => e.Parts.Count > 0 ? e.Parts : [e]).Select(e => e.Source.ToString()).Distinct()];
        return string.Join(", ", sources.Take(8)) + (sources.Length > 8 ? $" and {sources.Length - 8} more" : "");
    }
}
