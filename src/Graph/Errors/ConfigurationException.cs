namespace OrtQLoRA.Graph;

/// <summary>Options are wrong or contradict each other; lists every fault at once.</summary>
public sealed class ConfigurationException : OrtQLoRAException
{
    /// <summary>Creates the error from one fault.</summary>
    /// <param name="fault">What is wrong and which value would be right.</param>
    public ConfigurationException(string fault)
        : this([fault])
    {
    }

    /// <summary>Creates the error from all faults found.</summary>
    /// <param name="faults">Each fault with the value given and the values allowed.</param>
    public ConfigurationException(IReadOnlyList<string> faults)
        : base(faults.Count == 1 ? faults[0] : "The options have these faults:\n" + string.Join("\n", faults.Select(f => "  - " + f)))
    {
        Faults = faults;
    }

    /// <summary>Each fault, in the order found.</summary>
    public IReadOnlyList<string> Faults { get; }
}
