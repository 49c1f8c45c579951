namespace OrtQLoRA.Graph.Losses;

/// <summary>The loss heads by name.</summary>
public static class LossHeads
{
    private static readonly ILossHead[] Heads =
    [
        CrossEntropyLoss.CausalLanguageModeling,
        CrossEntropyLoss.SequenceClassification,
        CrossEntropyLoss.TokenClassification,
        CrossEntropyLoss.SequenceToSequence,
        CrossEntropyLoss.Plain,
        MeanSquaredErrorLoss.Regression,
        MeanSquaredErrorLoss.Plain,
        new ContrastiveLoss(),
        AbsoluteErrorLoss.Instance,
        BinaryCrossEntropyLoss.Instance,
    ];

    /// <summary>Every head.</summary>
    public static IReadOnlyList<ILossHead> All => Heads;

    /// <summary>Finds a head.</summary>
    /// <exception cref="ConfigurationException">There is none of that name; the message lists those there are.</exception>
    public static ILossHead Get(string name) => Array.Find(Heads, h => h.Name == name)
        ?? throw new ConfigurationException($"There is no loss '{name}'; choose one of {string.Join(", ", Heads.Select(h => h.Name))}.");
}
