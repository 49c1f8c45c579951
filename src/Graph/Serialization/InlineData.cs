using OrtQLoRA.Graph.IO;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Raw data of initializers that stays in the model file: a <see cref="ModelSkeleton"/> was read in its place.</summary>
/// <param name="File">The model file.</param>
/// <param name="Places">Place of the raw data in it, by the index of the initializer in the main graph.</param>
internal sealed record InlineData(MappedFile File, IReadOnlyDictionary<int, (int Offset, int Length)> Places);
