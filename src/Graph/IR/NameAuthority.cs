namespace OrtQLoRA.Graph.IR;

/// <summary>Hands out names that are unique in a graph and in its subgraphs.</summary>
public sealed class NameAuthority
{
    private readonly HashSet<string> _taken = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _counters = new(StringComparer.Ordinal);

    /// <summary>Whether the name is taken.</summary>
    public bool IsTaken(string name) => _taken.Contains(name);

    /// <summary>Takes a name.</summary>
    /// <returns>False if it was taken before.</returns>
    public bool TryTake(string name) => _taken.Add(name);

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
    public void Release(string name) => _taken.Remove(name);

    /// <summary>Takes <paramref name="stem"/> itself, or <c>stem_1</c>, <c>stem_2</c> and so on if that is taken.</summary>
    public string Unique(string stem)
    {
        if (stem.Length > 0 && _taken.Add(stem))
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
        while (!_taken.Add(name));
        _counters[stem] = counter;
        return name;
    }
}
