using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Generation;

/// <summary>How the next token is chosen, and when generation ends.</summary>
public sealed record GenerationOptions
{
    /// <summary>Most tokens to add; 128 by default.</summary>
    public int MaxNewTokens { get; init; } = 128;

    /// <summary>Divides the logits before the softmax; 0 (the default) always takes the most likely token.</summary>
    public double Temperature { get; init; }

    /// <summary>Chooses among this many of the most likely tokens; 0 (the default) among all.</summary>
    public int TopK { get; init; }

    /// <summary>Chooses among the fewest most likely tokens whose probabilities sum up to this; 1 (the default) among all.</summary>
    public double TopP { get; init; } = 1;

    /// <summary>Seed of the choice; 0 by default. Same seed, prompt and model: same tokens.</summary>
    public int Seed { get; init; }

    /// <summary>Ids that end the text, such as the tokenizer's end-of-sequence token; none by default.</summary>
    public IReadOnlyCollection<int> StopIds { get; init; } = [];

    /// <summary>Checks the options.</summary>
    /// <exception cref="ConfigurationException">Lists every option outside its range.</exception>
    public void Validate()
    {
        List<string> faults = [];
        if (MaxNewTokens < 0)
        {
            faults.Add($"{nameof(MaxNewTokens)} is {MaxNewTokens}; give 0 or more.");
        }

        if (!double.IsFinite(Temperature) || Temperature < 0)
        {
            faults.Add($"{nameof(Temperature)} is {Temperature}; give 0 for the most likely token, or a positive number such as 0.8.");
        }

        if (TopK < 0)
        {
            faults.Add($"{nameof(TopK)} is {TopK}; give 0 for all tokens, or a count such as 40.");
        }

        if (!(TopP is > 0 and <= 1))
        {
            faults.Add($"{nameof(TopP)} is {TopP}; give a share above 0 and up to 1.");
        }

        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }
    }
}
