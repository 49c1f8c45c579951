using System.CommandLine;
using System.CommandLine.Help;
using System.Text;

namespace OrtQLoRA.Cli.Tests.Docs;

/// <summary>Writes the command reference from the commands themselves.</summary>
internal static class CliReference
{
    public static string Write(RootCommand root)
    {
        StringBuilder text = new();
        text.Append("# Command reference\n\n");
        text.Append("Made from the commands themselves: `ORTQLORA_UPDATE_DOCS=1 ./ortqlora test CliReference` writes it anew, and the test\n");
        text.Append("`CliReferenceTests` fails where it differs.\n\n");
        text.Append("Exit codes: 0 done, 1 a mistake that you can mend (the message says how), 2 a fault of OrtQLoRA.\n\n");
        text.Append("Options of every command: ");
        text.AppendJoin(", ", root.Options.Where(IsShown).Select(o => $"`{o.Name}` ({o.Description})")).Append(".\n");
        foreach (Command command in root.Subcommands)
        {
            WriteCommand(text, command, "ortqlora " + command.Name);
        }

        return text.ToString();
    }

    private static void WriteCommand(StringBuilder text, Command command, string path)
    {
        text.Append("\n## ").Append(path).Append("\n\n").Append(command.Description).Append('\n');
        Option[] options = [.. command.Options.Where(IsShown)];
        if (options.Length > 0 || command.Arguments.Count > 0)
        {
            text.Append("\n| flag | meaning |\n| --- | --- |\n");
        }

        foreach (Argument argument in command.Arguments)
        {
            text.Append("| `").Append(argument.HelpName ?? argument.Name).Append("` | ").Append(argument.Description).Append(" |\n");
        }

        foreach (Option option in options)
        {
            string names = string.Join("`, `", new[] { option.Name }.Concat(option.Aliases));
            string value = option.ValueType == typeof(bool) ? "" : " " + (option.HelpName ?? "VALUE");
            text.Append("| `").Append(names).Append(value.Replace("|", "\\|", StringComparison.Ordinal)).Append("` | ")
                .Append(option.Description?.Replace("|", "\\|", StringComparison.Ordinal)).Append(option.Required ? " Required." : "").Append(" |\n");
        }

        foreach (Command child in command.Subcommands)
        {
            WriteCommand(text, child, $"{path} {child.Name}");
        }
    }

    private static bool IsShown(Option option) => !option.Hidden && option is not HelpOption and not VersionOption;
}
