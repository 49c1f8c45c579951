namespace OrtQLoRA.Trainer.Data;

/// <summary>
/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a generator whose sequence is fixed for all platforms and versions,
/// unlike that of <see cref="Random"/>. Orders of examples drawn with it can be repeated anywhere.
/// </summary>
public sealed class SplitMix64
{
    private ulong _state;

    /// <summary>Creates the generator.</summary>
    /// <param name="seed">Any number; equal seeds give equal sequences.</param>
    public SplitMix64(ulong seed)
    {
        _state = seed;
    }

    /// <summary>The next 64 bits.</summary>
    public ulong Next()
    {
        _state += 0x9E3779B97F4A7C15;
        ulong z = _state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>A number from 0 to <paramref name="bound"/> - 1, each equally likely (Lemire, arXiv 1805.10941).</summary>
    /// <param name="bound">Above 0.</param>
    public ulong Below(ulong bound)
    {
        ArgumentOutOfRangeException.ThrowIfZero(bound);
        ulong high = Math.BigMul(Next(), bound, out ulong low);
        if (low < bound)
        {
            ulong threshold = (0 - bound) % bound;
            while (low < threshold)
            {
                high = Math.BigMul(Next(), bound, out low);
            }
        }

        return high;
    }

    /// <summary>Puts elements into a random order (Fisher and Yates, from the last element down).</summary>
    public void Shuffle<T>(Span<T> elements)
    {
        for (int i = elements.Length - 1; i > 0; i--)
        {
            int j = (int)Below((ulong)i + 1);
            (elements[i], elements[j]) = (elements[j], elements[i]);
        }
    }
}
