namespace OrtQLoRA.Graph;

/// <summary>Finds what a mistyped name was meant to be.</summary>
public static class NearestName
{
    /// <summary>The known name that a name comes closest to: by the fewest changed letters, the shortest if there are several.</summary>
    /// <param name="name">The name that is not known.</param>
    /// <param name="known">The names that are, at least one.</param>
    public static string Of(string name, IEnumerable<string> known) => known.OrderBy(k => Distance(name, k)).ThenBy(k => k.Length).First();

    /// <summary>Letters to insert, remove or replace to make one name of the other (Levenshtein); upper and lower case are equal.</summary>
    public static int Distance(string a, string b)
    {
        ArgumentNullException.ThrowIfNull(a);
        ArgumentNullException.ThrowIfNull(b);
        int[] previous = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int[] current = new int[b.Length + 1];
            current[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int substitution = previous[j - 1] + (char.ToUpperInvariant(a[i - 1]) == char.ToUpperInvariant(b[j - 1]) ? 0 : 1);
                current[j] = Math.Min(substitution, Math.Min(previous[j], current[j - 1]) + 1);
            }

            previous = current;
        }

        return previous[b.Length];
    }
}
