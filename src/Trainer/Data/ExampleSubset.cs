using System.Collections;

namespace OrtQLoRA.Trainer.Data;

/// <summary>Some of the examples of a list, in the order given.</summary>
internal sealed class ExampleSubset : IReadOnlyList<TrainingExample>
{
    private readonly IReadOnlyList<TrainingExample> _examples;
    private readonly int[] _indices;

    internal ExampleSubset(IReadOnlyList<TrainingExample> examples, int[] indices)
    {
        _examples = examples;
        _indices = indices;
    }

    /// <inheritdoc/>
    public int Count => _indices.Length;

    /// <inheritdoc/>
    public TrainingExample this[int index] => _examples[_indices[index]];

    /// <summary>Holds examples back to evaluate on, chosen by a seed; both parts keep the order of the data.</summary>
    /// <param name="examples">All examples.</param>
    /// <param name="held">Below 1 a share, else a number.</param>
    /// <param name="seed">Seed.</param>
    /// <exception cref="TrainingDataException">One of the parts would be empty.</exception>
    internal static (IReadOnlyList<TrainingExample> Train, IReadOnlyList<TrainingExample> Eval) Split(IReadOnlyList<TrainingExample> examples, double held, ulong seed)
    {
        double count = held < 1 ? Math.Round(held * examples.Count) : Math.Floor(held);
        if (count < 1 || count >= examples.Count)
        {
            throw new TrainingDataException(
                $"--eval-split {held} of {examples.Count} examples leaves {(count < 1 ? "none to evaluate on" : "none to train on")}; give {(count < 1 ? "more" : "less")}, or other data by --eval-data.");
        }

        int[] order = [.. Enumerable.Range(0, examples.Count)];
        new SplitMix64(seed ^ 0x5851F42D4C957F2D).Shuffle(order.AsSpan());
        int[] eval = order[..(int)count];
        int[] train = order[(int)count..];
        Array.Sort(eval);
        Array.Sort(train);
        return (new ExampleSubset(examples, train), new ExampleSubset(examples, eval));
    }

    /// <inheritdoc/>
    public IEnumerator<TrainingExample> GetEnumerator() => _indices.Select(i => _examples[i]).GetEnumerator();

    /// <inheritdoc/>
    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
