using System.Collections;

namespace OrtQLoRA.Trainer.Data.Packing;

/// <summary>Examples in rows of several. Rows are put together when they are asked for; kept are the numbers of their examples alone.</summary>
internal sealed class PackedExamples : IReadOnlyList<TrainingExample>
{
    private readonly IReadOnlyList<TrainingExample> _examples;
    private readonly int[] _members;
    private readonly int[] _ends;

    private PackedExamples(IReadOnlyList<TrainingExample> examples, int[] members, int[] ends)
    {
        _examples = examples;
        _members = members;
        _ends = ends;
    }

    /// <inheritdoc/>
    public int Count => _ends.Length;

    /// <inheritdoc/>
    public TrainingExample this[int index] =>
        TrainingExample.Pack([.. _members[(index == 0 ? 0 : _ends[index - 1]).._ends[index]].Select(i => _examples[i])]);

    /// <summary>Packs examples. Each is looked at once, for its length.</summary>
    /// <param name="examples">The examples, none longer than a row.</param>
    /// <param name="rowLength">Tokens that a row holds.</param>
    internal static PackedExamples Create(IReadOnlyList<TrainingExample> examples, int rowLength)
    {
        int[] members = new int[examples.Count];
        List<int> ends = [];
        int end = 0;
        foreach (int[] row in RowPacker.Pack(examples.Select(e => e.InputIds.Length), rowLength))
        {
            row.CopyTo(members, end);
            ends.Add(end += row.Length);
        }

        return new PackedExamples(examples, members, [.. ends]);
    }

    /// <inheritdoc/>
    public IEnumerator<TrainingExample> GetEnumerator() => Enumerable.Range(0, Count).Select(i => this[i]).GetEnumerator();

    /// <inheritdoc/>
    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
