namespace OrtQLoRA.Graph.IR;

/// <summary>
/// Hands out names that are unique in a graph and in all its subgraphs. A file may use one name in two subgraphs
/// that do not see each other (the branches of an If), so each name counts how often it is taken.
/// </summary>
public sealed class NameAuthority
{
    private readonly Dictionary<string, int> _taken = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _counters = new(StringComparer.Ordinal);

    /// <summary>Whether the name is taken.</summary>
    public bool IsTaken(string name) => _taken.ContainsKey(name);

    /// <summary>Takes a name unless it is taken.</summary>
    /// <returns>False if it was taken before.</returns>
    public bool TryTake(string name) => _taken.TryAdd(name, 1);

    /// <summary>
    /// A name that is free now, for a value that is about to be created under it: <paramref name="stem"/> itself,
    /// or <c>stem_1</c>, <c>stem_2</c> and so on. Creating the value takes the name.
    /// </summary>
    public string Reserve(string stem)
    {
        string name = Unique(stem);
        Release(name);
        return name;
    }

    /// <summary>Gives a name back.</summary>
    public void Release(string name)
    {
        if (_taken.TryGetValue(name, out int count))
        {
            if (count == 1)
            {
                _taken.Remove(name);
            }
            else
            {
                _taken[name] = count - 1;
            }
        }
    }

    /// <summary>Takes <paramref name="stem"/> itself, or <c>stem_1</c>, <c>stem_2</c> and so on if that is taken.</summary>
    public string Unique(string stem)
    {
        if (stem.Length > 0 && TryTake(stem))
        {
            return stem;
        }

        int counter = _counters.GetValueOrDefault(stem);
        string name;
        do
        {
            counter++;
            name = $"{stem}_{counter}";
        }
        while (!TryTake(name));
        _counters[stem] = counter;
        return name;
    }

    /// <summary>Takes a name, even one that another scope has taken.</summary>
    internal void Take(string name) => _taken[name] = _taken.GetValueOrDefault(name) + 1;
}
