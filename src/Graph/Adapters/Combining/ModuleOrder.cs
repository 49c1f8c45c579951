namespace OrtQLoRA.Graph.Adapters.Combining;

/// <summary>Keys in the order of a model's layers: numbers between dots by their value, other parts by their letters.</summary>
internal sealed class ModuleOrder : IComparer<string>
{
    public static ModuleOrder Instance { get; } = new();

    public int Compare(string? x, string? y)
    {
        string[] left = x!.Split('.');
        string[] right = y!.Split('.');
        for (int i = 0; i < Math.Min(left.Length, right.Length); i++)
        {
            int order = int.TryParse(left[i], out int a) && int.TryParse(right[i], out int b) ? a.CompareTo(b) : string.CompareOrdinal(left[i], right[i]);
            if (order != 0)
            {
                return order;
            }
        }

        return left.Length.CompareTo(right.Length);
    }
}
