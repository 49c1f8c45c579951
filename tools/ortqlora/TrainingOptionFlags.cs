using System.CommandLine;
using System.CommandLine.Parsing;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Cli;

/// <summary>
/// The settings of <see cref="TrainingOptionCatalog"/> as flags of a command, with <c>--config</c> before them: a file sets
/// first, flags override.
/// </summary>
internal sealed class TrainingOptionFlags
{
    private readonly Option<string> _config = new("--config") { Description = "YAML or JSON file with these settings; flags override it.", HelpName = "FILE" };
    private readonly List<(TrainingOption Setting, Option Flag)> _flags = [];

    /// <summary>Adds flags to a command.</summary>
    /// <param name="command">The command.</param>
    /// <param name="leaveOut">Names of settings that the command does not take.</param>
    internal TrainingOptionFlags(Command command, params IEnumerable<string> leaveOut)
        : this(command, [.. TrainingOptionCatalog.All.ExceptBy(leaveOut, o => o.Name)])
    {
    }

    private TrainingOptionFlags(Command command, IReadOnlyList<TrainingOption> settings)
    {
        command.Options.Add(_config);
        foreach (TrainingOption setting in settings)
        {
            string name = "--" + setting.Name;
            Option flag = setting switch
            {
                { Value: null } => new Option<bool>(name) { Description = setting.Description },
                { IsList: true } => new Option<string[]>(name) { Description = setting.Description, HelpName = setting.Value, AllowMultipleArgumentsPerToken = true },
                _ => new Option<string>(name) { Description = setting.Description, HelpName = setting.Value },
            };
            command.Options.Add(flag);
            _flags.Add((setting, flag));
        }
    }

    /// <summary>Adds some flags to a command.</summary>
    /// <param name="command">The command.</param>
    /// <param name="names">Names of the settings that the command takes.</param>
    internal static TrainingOptionFlags Only(Command command, params IReadOnlyCollection<string> names) =>
        new(command, [.. TrainingOptionCatalog.All.Where(o => names.Contains(o.Name))]);

    /// <summary>Reads file and flags.</summary>
    /// <exception cref="ConfigurationException">Values cannot be read; all are listed.</exception>
    internal TrainingOptions Read(ParseResult result)
    {
        TrainingOptions options = new();
        if (result.GetValue(_config) is string file)
        {
            TrainingOptionsFile.Apply(file, options);
        }

        List<string> faults = [];
        foreach ((TrainingOption setting, Option flag) in _flags)
        {
            if (result.GetResult(flag) is not OptionResult { Implicit: false })
            {
                continue;
            }

            string text = flag switch
            {
                Option<bool> toggle => result.GetValue(toggle).ToString(),
                Option<string[]> list => string.Join('\n', result.GetValue(list)!),
                _ => result.GetValue((Option<string>)flag) ?? "",
            };
            if (TrainingOptionsFile.TrySet(options, setting, text, flag.Name) is string fault)
            {
                faults.Add(fault);
            }
        }

        return faults.Count == 0 ? options : throw new ConfigurationException(faults);
    }
}
