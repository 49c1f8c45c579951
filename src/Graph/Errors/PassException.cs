namespace OrtQLoRA.Graph;

/// <summary>A pass failed; names the pass and those that ran before it.</summary>
public sealed class PassException : OrtQLoRAException
{
    /// <summary>Creates the error.</summary>
    /// <param name="pass">Name of the pass that failed.</param>
    /// <param name="earlierPasses">Passes that had run, in order.</param>
    /// <param name="innerException">The failure.</param>
    public PassException(string pass, IReadOnlyList<string> earlierPasses, Exception innerException)
        : base($"Pass '{pass}' failed{(earlierPasses.Count == 0 ? "" : $" after {string.Join(", ", earlierPasses)}")}: {innerException.Message}", innerException)
    {
        Pass = pass;
        EarlierPasses = earlierPasses;
    }

    /// <summary>Name of the pass that failed.</summary>
    public string Pass { get; }

    /// <summary>Passes that had run, in order.</summary>
    public IReadOnlyList<string> EarlierPasses { get; }

    /// <inheritdoc/>
    public override bool IsUserError => InnerException is OrtQLoRAException { IsUserError: true };
}
