using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>What a tensor's first values are made of: random numbers of its own, other tensors' first values, and weights of the base.</summary>
public sealed class FirstValues
{
    private readonly Func<AdapterTensor, ITensor> _others;

    private readonly int _seed;

    internal FirstValues(int seed, string name, Func<AdapterTensor, ITensor> others)
    {
        Random = new ReproducibleRandom(seed, name);
        _seed = seed;
        _others = others;
    }

    /// <summary>The tensor's own sequence of random numbers, the same on every machine.</summary>
    public ReproducibleRandom Random { get; }

    /// <summary>Random numbers that several tensors share.</summary>
    /// <param name="purpose">What they are for; the sequence depends on it and on the run's seed.</param>
    public ReproducibleRandom RandomFor(string purpose) => new(_seed, purpose);

    /// <summary>First values of another tensor of the adapter.</summary>
    public float[] Of(AdapterTensor tensor) => _others(tensor).ToFloats();

    /// <summary>
    /// A module's weight [out, in] (an embedding's [vocabulary, dim]) as the graph holds it: dequantized where it is
    /// quantized.
    /// </summary>
    public static Matrix Weight(LinearModule module) => BaseWeight.Read(module);
}
