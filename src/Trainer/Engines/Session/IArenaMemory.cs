using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>A block of floats that sessions read and write in place, in the memory of the device they run on.</summary>
internal interface IArenaMemory : IDisposable
{
    /// <summary>What memory it is, for tensors that lie in it.</summary>
    OrtMemoryInfo Info { get; }

    /// <summary>Address on the device.</summary>
    nint Address { get; }

    /// <summary>Copies elements to the host.</summary>
    void Read(long start, Span<float> values);

    /// <summary>Overwrites elements.</summary>
    void Write(long start, ReadOnlySpan<float> values);

    /// <summary>Sets every element to zero.</summary>
    void Clear();

    /// <summary>Sum of squares of all elements; not finite if one of them is not.</summary>
    double SumOfSquares();
}
