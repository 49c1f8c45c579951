namespace OrtQLoRA.Trainer.Data.Packing;

/// <summary>
/// Puts examples into rows of a bounded length: among a window of neighbours the longest first, each into the fullest row
/// that still has room for it (best fit decreasing). Windows keep rows near each other in the data, so that streamed lines are
/// found quickly, and the result depends on lengths alone.
/// </summary>
internal static class RowPacker
{
    /// <summary>Neighbouring examples that are packed together.</summary>
    internal const int Window = 4096;

    /// <summary>Packs.</summary>
    /// <param name="lengths">Length of each example, each at most <paramref name="rowLength"/>; read once, in order.</param>
    /// <param name="rowLength">Tokens that a row holds.</param>
    /// <returns>The examples of each row in order; rows are ordered by their first example.</returns>
    internal static IEnumerable<int[]> Pack(IEnumerable<int> lengths, int rowLength)
    {
        int first = 0;
        foreach (int[] window in lengths.Chunk(Window))
        {
            foreach (List<int> row in PackWindow(window, rowLength))
            {
                yield return [.. row.Order().Select(i => first + i)];
            }

            first += window.Length;
        }
    }

    private static IEnumerable<List<int>> PackWindow(int[] lengths, int rowLength)
    {
        List<List<int>> rows = [];
        SortedSet<(int Room, int Row)> open = [];
        foreach (int example in Enumerable.Range(0, lengths.Length).OrderByDescending(i => lengths[i]).ThenBy(i => i))
        {
            int length = lengths[example];
            ArgumentOutOfRangeException.ThrowIfGreaterThan(length, rowLength);
            (int room, int row) = open.GetViewBetween((length, 0), (rowLength, int.MaxValue)).FirstOrDefault((rowLength, -1));
            if (row < 0)
            {
                row = rows.Count;
                rows.Add([]);
            }
            else
            {
                open.Remove((room, row));
            }

            rows[row].Add(example);
            open.Add((room - length, row));
        }

        return rows.OrderBy(r => r.Min());
    }
}
