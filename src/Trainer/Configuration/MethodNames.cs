using OrtQLoRA.Graph.Adapters;

namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Names of adapter methods as options take them.</summary>
internal static class MethodNames
{
    /// <summary>LoRA with DoRA's magnitudes: no method of its own in PEFT, but asked for as one.</summary>
    internal const string Dora = "dora";

    /// <summary>What a help text shows.</summary>
    internal static string All { get; } = string.Join("|", AdapterRegistry.Default.Names.Append(Dora).Order(StringComparer.Ordinal));

    /// <summary>The method's own name; case, dashes and underscores do not matter.</summary>
    /// <exception cref="FormatException">There is no such method.</exception>
    internal static string Parse(string text)
    {
        string wanted = Bare(text);
        return AdapterRegistry.Default.Names.Append(Dora).FirstOrDefault(n => Bare(n) == wanted)
            ?? throw new FormatException($"it must be one of {All}");
    }

    private static string Bare(string name) => name.Trim().Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal).ToLowerInvariant();
}
