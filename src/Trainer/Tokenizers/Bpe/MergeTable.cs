namespace OrtQLoRA.Trainer.Tokenizers.Bpe;

/// <summary>
/// Which adjacent symbols byte-pair encoding merges, into what, and which pair goes first (Sennrich et al. 2016).
/// </summary>
internal sealed class MergeTable
{
    private readonly Dictionary<(int Left, int Right), (int Merged, float Score)> _merges = [];

    /// <summary>Lets two symbols merge. A pair that is known already keeps its first entry.</summary>
    /// <param name="left">Id of the left symbol.</param>
    /// <param name="right">Id of the right symbol.</param>
    /// <param name="merged">Id of the symbol that replaces both.</param>
    /// <param name="score">The pair with the highest score merges first; of equals, the leftmost.</param>
    public void Add(int left, int right, int merged, float score) => _merges.TryAdd((left, right), (merged, score));

    /// <summary>Merges adjacent symbols, best pair first, until no pair can merge.</summary>
    public List<int> Apply(IReadOnlyList<int> symbols)
    {
        int count = symbols.Count;
        int[] ids = [.. symbols];
        int[] next = new int[count];
        int[] previous = new int[count];
        // A pair's entry goes stale once either side has merged with another neighbour; a symbol merged away has id -1.
        PriorityQueue<(int Left, int Right, int LeftId, int RightId, int Merged), (float Score, int Left)> queue = new(HighestScoreThenLeftmost);
        for (int i = 0; i < count; i++)
        {
            next[i] = i + 1 < count ? i + 1 : -1;
            previous[i] = i - 1;
        }

        for (int i = 0; i + 1 < count; i++)
        {
            Offer(i, i + 1);
        }

        while (queue.TryDequeue(out (int Left, int Right, int LeftId, int RightId, int Merged) pair, out _))
        {
            if (ids[pair.Left] != pair.LeftId || ids[pair.Right] != pair.RightId || next[pair.Left] != pair.Right)
            {
                continue;
            }

            ids[pair.Left] = pair.Merged;
            ids[pair.Right] = -1;
            int after = next[pair.Right];
            next[pair.Left] = after;
            if (after >= 0)
            {
                previous[after] = pair.Left;
                Offer(pair.Left, after);
            }

            if (previous[pair.Left] >= 0)
            {
                Offer(previous[pair.Left], pair.Left);
            }
        }

        List<int> merged = new(count);
        for (int i = count > 0 ? 0 : -1; i >= 0; i = next[i])
        {
            merged.Add(ids[i]);
        }

        return merged;

        void Offer(int left, int right)
        {
            if (_merges.TryGetValue((ids[left], ids[right]), out (int Merged, float Score) merge))
            {
                queue.Enqueue((left, right, ids[left], ids[right], merge.Merged), (merge.Score, left));
            }
        }
    }

    private static Comparer<(float Score, int Left)> HighestScoreThenLeftmost { get; } = Comparer<(float Score, int Left)>.Create(
        (a, b) => a.Score != b.Score ? b.Score.CompareTo(a.Score) : a.Left.CompareTo(b.Left));
}
