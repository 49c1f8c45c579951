namespace OrtQLoRA.Graph.Training;

/// <summary>Layout of one group's flat tensors.</summary>
/// <param name="Group">The group.</param>
/// <param name="Slots">Its parameters in order.</param>
/// <param name="Length">Number of elements, padding included.</param>
public sealed record ArenaGroup(ParameterGroup Group, IReadOnlyList<ArenaSlot> Slots, long Length);
