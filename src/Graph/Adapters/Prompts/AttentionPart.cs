using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>The keys or the values of an attention, where they are still one tensor of rank 4 before scaling and transposition.</summary>
/// <param name="Reader">The node that reads them.</param>
/// <param name="Index">Which of its inputs they are.</param>
/// <param name="Axes">Which axis of the tensor is which, in the order batch, head, position, feature.</param>
internal sealed record AttentionPart(Node Reader, int Index, long[] Axes)
{
    /// <summary>The tensor.</summary>
    public Value Value => Reader.Inputs[Index]!;

    /// <summary>Size of an axis, if it is a number: 1 heads, 3 features of a head.</summary>
    public long? Size(int role) => Value.Shape is { Rank: 4 } shape ? shape[(int)Axes[role]].Value : null;
}
