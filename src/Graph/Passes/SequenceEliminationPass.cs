using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Takes out sequences of tensors whose members are known: an element of SplitToSequence becomes the part of the tensor
/// that it is, an element of SequenceConstruct the tensor itself, and ConcatFromSequence of SequenceConstruct a Concat. PyTorch's dynamo
/// exporter writes <c>split</c> so where its optimizer is off.
/// </summary>
/// <remarks>Run it behind <see cref="ConstantToInitializerPass"/>. Sequences that stay are refused where a gradient has to pass.</remarks>
public sealed class SequenceEliminationPass : GraphPass
{
    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        bool changed = false;
        foreach (Node node in model.Graph.AllNodes().Where(n => n.Is("SequenceAt") || n.Is("ConcatFromSequence")).ToArray())
        {
            if (node.Inputs[0]?.Producer is { } sequence && Replacement(node, sequence, model.Opset) is { } replacement)
            {
                NodeReplacement.Replace(node, replacement);
                changed = true;
            }
        }

        return changed;
    }

    private static Value? Replacement(Node node, Node sequence, long opset)
    {
        GraphBuilder builder = new(node.OwningGraph, opset, node) { Scope = node.Name + "/" };
        if (node.Is("ConcatFromSequence"))
        {
            return sequence.Is("SequenceConstruct") && node.GetInt("new_axis", 0) == 0
                ? builder.Concat(node.GetInt("axis", 0), sequence.Inputs.Select(i => i!))
                : null;
        }

        if (node.InputOrNull(1) is not { IsConstant: true, Initializer: { } content } || content.ElementCount() != 1)
        {
            return null;
        }

        long position = content.ToInt64s()[0];
        if (sequence.Is("SequenceConstruct"))
        {
            long index = position < 0 ? position + sequence.Inputs.Count : position;
            return index >= 0 && index < sequence.Inputs.Count ? builder.Op("Identity", [sequence.Inputs[(int)index]]) : null;
        }

        return sequence.Is("SplitToSequence") ? Part(builder, sequence, position) : null;
    }

    private static Value? Part(GraphBuilder builder, Node split, long position)
    {
        Value whole = split.Inputs[0]!;
        long axis = split.GetInt("axis", 0);
        if (split.InputOrNull(1) is not { } sizes)
        {
            // Parts of one element, without their axis unless it is to be kept.
            return split.GetInt("keepdims", 1) == 0
                ? builder.Op("Gather", [whole, builder.Scalar(position)], ("axis", axis))
                : builder.Op("Gather", [whole, builder.Int64s(position)], ("axis", axis));
        }

        if (sizes is not { IsConstant: true, Initializer: { } content })
        {
            return null;
        }

        long[] lengths = content.ToInt64s();
        if (content.Dims.Length == 0)
        {
            // All parts of one length but perhaps the last, which Slice cuts short.
            return position < 0 ? null : Slice(position * lengths[0], (position + 1) * lengths[0]);
        }

        int index = (int)(position < 0 ? position + lengths.Length : position);
        long start = lengths.Take(index).Sum();
        return index >= 0 && index < lengths.Length ? Slice(start, start + lengths[index]) : null;

        Value Slice(long first, long end) => builder.Op("Slice", [whole, builder.Int64s(first), builder.Int64s(end), builder.Int64s(axis)]);
    }
}
