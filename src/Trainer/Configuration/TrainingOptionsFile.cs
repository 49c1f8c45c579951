using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace OrtQLoRA.Trainer.Configuration;

/// <summary>
/// Reads training options from a configuration file and writes them. A file is one mapping in YAML or JSON (which is YAML)
/// whose keys are the flags' names without dashes in front; lists may be written as lists.
/// </summary>
public static class TrainingOptionsFile
{
    /// <summary>The key that holds <see cref="Version"/>.</summary>
    public const string VersionKey = "version";

    /// <summary>Version of the form that this program writes; it reads this and older ones.</summary>
    public const int Version = 1;

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>Sets what a file says.</summary>
    /// <param name="path">The file.</param>
    /// <param name="options">The options to change; relative paths in the file are relative to the working folder, as flags are.</param>
    /// <exception cref="ConfigurationException">The file cannot be read, or keys or values are wrong; all faults are listed.</exception>
    public static void Apply(string path, TrainingOptions options)
    {
        YamlMappingNode? mapping;
        try
        {
            using StreamReader reader = new(path);
            YamlStream stream = [];
            stream.Load(reader);
            mapping = stream.Documents.Count == 0 ? new YamlMappingNode() : stream.Documents[0].RootNode as YamlMappingNode;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"The configuration file '{path}' cannot be read: {e.Message}");
        }
        catch (YamlException e)
        {
            throw new ConfigurationException($"The configuration file '{path}' is neither YAML nor JSON: line {e.Start.Line}: {e.Message}");
        }

        if (mapping is null)
        {
            throw new ConfigurationException($"The configuration file '{path}' must hold one mapping such as 'model: model.onnx'.");
        }

        List<string> faults = [];
        foreach ((YamlNode key, YamlNode value) in mapping)
        {
            Apply(path, options, faults, key, value);
        }

        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }
    }

    /// <summary>
    /// The options as a JSON object with the keys of a configuration file; unset ones are left out, and paths are made full so
    /// that the file means the same in any folder.
    /// </summary>
    /// <param name="options">The options.</param>
    /// <param name="task">The task, where it was taken from an adapter; null to write what the options say.</param>
    public static string ToJson(TrainingOptions options, TrainingTask? task = null)
    {
        JsonObject root = new() { [VersionKey] = Version };
        foreach (TrainingOption option in TrainingOptionCatalog.All)
        {
            object? value = option.Read(options);
            if (option.Name == "task" && task is TrainingTask resolved)
            {
                value = OptionText.Name(resolved);
            }

            if (option.IsPath && value is string { Length: > 0 } path)
            {
                value = Path.GetFullPath(path);
            }

            if (value is not null)
            {
                root[option.Name] = JsonSerializer.SerializeToNode(value, value.GetType());
            }
        }

        return root.ToJsonString(Indented);
    }

    /// <summary>Sets one option from text.</summary>
    /// <returns>What is wrong, or null.</returns>
    public static string? TrySet(TrainingOptions options, TrainingOption option, string text, string shownAs)
    {
        try
        {
            option.Apply(options, text);
            return null;
        }
        catch (FormatException e)
        {
            return $"{shownAs} is '{text}'; {e.Message}.";
        }
        catch (ConfigurationException e)
        {
            return $"{shownAs}: {e.Message}";
        }
    }

    private static void Apply(string path, TrainingOptions options, List<string> faults, YamlNode key, YamlNode value)
    {
        string name = ((key as YamlScalarNode)?.Value ?? "").Replace('_', '-');
        string where = $"{path}:{key.Start.Line}: {name}";
        if (name == VersionKey)
        {
            CheckVersion(where, (value as YamlScalarNode)?.Value, faults);
            return;
        }

        TrainingOption? option = TrainingOptionCatalog.Find(name);
        if (option is null)
        {
            string nearest = ForeignNames.Find(name) ?? NearestName.Of(name, TrainingOptionCatalog.All.Select(o => o.Name));
            faults.Add($"{where} is no setting; did you mean '{nearest}'? 'ortqlora train --help' lists all.");
            return;
        }

        string? text = value switch
        {
            YamlScalarNode { Value: null or "" or "null" or "~", Style: ScalarStyle.Plain or ScalarStyle.Any } => null,
            YamlScalarNode scalar => scalar.Value,
            YamlSequenceNode list => string.Concat(list.Select(e => (e as YamlScalarNode)?.Value + "\n")),
            YamlMappingNode pairs => string.Concat(pairs.Select(p => $"{(p.Key as YamlScalarNode)?.Value}={(p.Value as YamlScalarNode)?.Value}\n")),
            _ => null,
        };
        if (text is not null && TrySet(options, option, text, where) is string fault)
        {
            faults.Add(fault);
        }
    }

    private static void CheckVersion(string where, string? text, List<string> faults)
    {
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int version) || version < 1)
        {
            faults.Add($"{where} is '{text}'; it must be a whole number from 1 to {Version}.");
        }
        else if (version > Version)
        {
            faults.Add($"{where} is {version}, but this program knows versions up to {Version}: the file was written for a newer one. Update OrtQLoRA, or write the file for version {Version}.");
        }
    }
}
