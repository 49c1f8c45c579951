namespace OrtQLoRA.Graph.Training;

/// <summary>
/// Chooses a group for each parameter: B matrices of LoRA with a higher learning rate (LoRA+, Hayou et al., arXiv 2402.12354),
/// and parameters that do not decay.
/// </summary>
public sealed class ParameterGrouping
{
    private static readonly string[] BMatrices = [".lora_B", ".lora_embedding_B"];

    private readonly double _ratio;
    private readonly IReadOnlyList<string> _noDecay;

    /// <summary>Creates the rule.</summary>
    /// <param name="ratio">Factor of the learning rate of B matrices; 1 for none.</param>
    /// <param name="noDecay">Parts of names of parameters without weight decay.</param>
    public ParameterGrouping(double ratio, IReadOnlyList<string> noDecay)
    {
        _ratio = ratio;
        _noDecay = noDecay;
    }

    /// <summary>The group of a parameter.</summary>
    public ParameterGroup GroupOf(TrainableParameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        bool isB = _ratio != 1 && BMatrices.Any(b => parameter.Name.Contains(b, StringComparison.Ordinal));
        bool hasNoDecay = _noDecay.Any(n => parameter.Name.Contains(n, StringComparison.OrdinalIgnoreCase));
        string name = (isB, hasNoDecay) switch
        {
            (true, true) => "lora_B_no_decay",
            (true, false) => "lora_B",
            (false, true) => "no_decay",
            _ => ParameterGroup.DefaultName,
        };
        return new ParameterGroup(name, isB ? _ratio : 1, hasNoDecay ? 0 : null);
    }
}
