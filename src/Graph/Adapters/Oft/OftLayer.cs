using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Oft;

/// <summary>OFT on one module.</summary>
/// <param name="Module">The module.</param>
/// <param name="Blocks">Number of blocks along the input.</param>
/// <param name="Size">n: size of a block.</param>
/// <param name="Rotation">Upper triangles of the skew matrices, row by row: [blocks, n (n - 1) / 2], or [1, ...] if the blocks are one.</param>
internal sealed record OftLayer(LinearModule Module, int Blocks, int Size, AdapterTensor Rotation);
