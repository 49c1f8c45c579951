namespace OrtQLoRA.Graph.Adapters.Targets;

/// <summary>
/// Writes a long list of module paths as the few endings that mean the same modules, as PEFT does when a list has 20
/// entries or more (<c>_find_minimal_target_modules</c>).
/// </summary>
public static class TargetModuleShortening
{
    /// <summary>From this many entries on PEFT shortens.</summary>
    public const int Threshold = 20;

    /// <summary>The shortest list of endings that matches exactly the given modules.</summary>
    /// <param name="targets">Paths of the targeted modules.</param>
    /// <param name="others">Paths of every other module of the model, containers included.</param>
    public static IReadOnlyList<string> Shorten(IReadOnlyCollection<string> targets, IEnumerable<string> others)
    {
        if (targets.Count < Threshold)
        {
            return [.. targets];
        }

        HashSet<string> reserved = [.. others.SelectMany(Endings)];
        List<string> needed = [];
        HashSet<string> taken = [];
        foreach (string[] endings in targets.Select(t => Endings(t).ToArray()).Order(EndingOrder.Instance))
        {
            string path = endings[^1];
            if (needed.Any(n => path == n || path.EndsWith("." + n, StringComparison.Ordinal)))
            {
                continue;
            }

            if (endings.FirstOrDefault(e => !taken.Contains(e) && !reserved.Contains(e)) is { } ending)
            {
                needed.Add(ending);
                taken.Add(ending);
            }
        }

        return needed.Count > 0 && needed.Count < targets.Count ? needed : [.. targets];
    }

    // "a.b.c" has the endings "c", "b.c", "a.b.c".
    private static IEnumerable<string> Endings(string path)
    {
        for (int dot = path.LastIndexOf('.'); dot >= 0; dot = dot == 0 ? -1 : path.LastIndexOf('.', dot - 1))
        {
            yield return path[(dot + 1)..];
        }

        yield return path;
    }

    private sealed class EndingOrder : IComparer<string[]>
    {
        public static EndingOrder Instance { get; } = new();

        public int Compare(string[]? x, string[]? y)
        {
            for (int i = 0; i < Math.Min(x!.Length, y!.Length); i++)
            {
                int order = string.CompareOrdinal(x[i], y[i]);
                if (order != 0)
                {
                    return order;
                }
            }

            return x!.Length.CompareTo(y!.Length);
        }
    }
}
