namespace OrtQLoRA.Trainer.Configuration;

/// <summary>One setting of <see cref="TrainingOptions"/> as the command line and configuration files know it.</summary>
/// <param name="Name">Flag without dashes and key in files, for example <c>max-steps</c>.</param>
/// <param name="Value">What to write after it, for example <c>STEPS</c>; null for a switch.</param>
/// <param name="Description">One sentence for the help text, with the default.</param>
/// <param name="Apply">Parses and sets; throws <see cref="FormatException"/> with what would be right.</param>
/// <param name="Read">The present value in a form that JSON and YAML know; null if unset.</param>
public sealed record TrainingOption(
    string Name,
    string? Value,
    string Description,
    Action<TrainingOptions, string> Apply,
    Func<TrainingOptions, object?> Read)
{
    /// <summary>Whether several values may follow.</summary>
    public bool IsList => Value is "NAMES" or "NUMBERS";

    /// <summary>Whether the value names a file or folder.</summary>
    public bool IsPath => Value is "FILE" or "FOLDER" or "PATH";
}
