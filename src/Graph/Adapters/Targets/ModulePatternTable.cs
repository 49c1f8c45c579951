namespace OrtQLoRA.Graph.Adapters.Targets;

/// <summary>
/// A table such as PEFT's <c>rank_pattern</c>: module names or regular expressions to values. The first key that matches,
/// in the order of the file, wins.
/// </summary>
/// <typeparam name="T">Type of the values.</typeparam>
public sealed class ModulePatternTable<T>
{
    private readonly (PythonRegex Pattern, T Value)[] _rows;

    /// <summary>Creates a table.</summary>
    /// <param name="key">Configuration key, for messages.</param>
    /// <param name="rows">Keys and values in order. A key is matched as Python's <c>re.match("(.*\.)?(key)$", path)</c>.</param>
    /// <exception cref="ConfigurationException">A key is no valid regular expression.</exception>
    public ModulePatternTable(string key, IEnumerable<KeyValuePair<string, T>> rows)
    {
        _rows = [.. rows.Select(r => (PythonRegex.Match(key, r.Key, @"(.*\.)?({0})$"), r.Value))];
    }

    /// <summary>The value of the first key that matches a module path, or the default.</summary>
    public T ValueFor(string path, T defaultValue)
    {
        foreach ((PythonRegex pattern, T value) in _rows)
        {
            if (pattern.IsMatch(path))
            {
                return value;
            }
        }

        return defaultValue;
    }
}
