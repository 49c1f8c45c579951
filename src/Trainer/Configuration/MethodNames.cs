using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Optimizers;

namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Names of adapter methods as options take them.</summary>
internal static class MethodNames
{
    /// <summary>LoRA with DoRA's magnitudes: no method of its own in PEFT, but asked for as one.</summary>
    internal const string Dora = "dora";

    /// <summary>LoRA with frozen A and an optimizer of its own.</summary>
    private const string LoraFa = "lora-fa";

    /// <summary>LoRA with a higher learning rate for B.</summary>
    private const string LoraPlus = "lora-plus";

    /// <summary>LoRA+'s factor where none is given; Hayou et al. recommend about 2^4.</summary>
    private const double DefaultLoraPlusRatio = 16;

    /// <summary>All of them, in order.</summary>
    internal static IReadOnlyList<string> Known { get; } = [.. AdapterRegistry.Default.Names.Concat([Dora, LoraFa, LoraPlus]).Order(StringComparer.Ordinal)];

    /// <summary>What a help text shows.</summary>
    internal static string All { get; } = string.Join("|", Known);

    /// <summary>Sets the method; names that stand for LoRA with another training set that too.</summary>
    /// <exception cref="FormatException">There is no such method.</exception>
    internal static void Apply(TrainingOptions options, string text)
    {
        string name = Parse(text);
        options.Method = name is LoraFa or LoraPlus ? "lora" : name;
        if (name == LoraFa)
        {
            options.Optimizer = options.Optimizer with { Name = LoraFaOptimizer.OptimizerName };
        }
        else if (name == LoraPlus)
        {
            options.LoraPlusRatio ??= DefaultLoraPlusRatio;
        }
    }

    /// <summary>The method's own name; case, dashes and underscores do not matter.</summary>
    /// <exception cref="FormatException">There is no such method.</exception>
    private static string Parse(string text)
    {
        string wanted = Bare(text);
        return Known.FirstOrDefault(n => Bare(n) == wanted)
            ?? throw new FormatException($"it must be one of {All}");
    }

    private static string Bare(string name) => name.Trim().Replace("+", "plus", StringComparison.Ordinal).Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal).ToLowerInvariant();
}
