namespace OrtQLoRA.Graph.Rewriting;

/// <summary>Lays an int8 weight out as the kernels of a device read it, so that they need no copy of their own.</summary>
/// <param name="Layout">Attribute <c>layout</c> of the operators that read it, for example <c>panel64</c>.</param>
/// <param name="Pack">From the bytes of <c>q[K, N]</c>, K and N to the bytes in that layout, a uint8 vector.</param>
public sealed record Int8WeightPacker(string Layout, Func<ReadOnlyMemory<byte>, long, long, ReadOnlyMemory<byte>> Pack);
