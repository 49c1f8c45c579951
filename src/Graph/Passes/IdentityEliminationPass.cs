using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Removes nodes whose output is their input, in the main graph and in subgraphs:
/// 1. <c>Identity</c>; <c>Cast</c> and <c>CastLike</c> to the type that the input has; <c>Concat</c>, <c>Sum</c>,
///    <c>Mean</c>, <c>Max</c> and <c>Min</c> of one input;
/// 2. <c>Dropout</c> that is not in training mode and whose mask nobody reads;
/// 3. <c>Transpose</c> that leaves the axes in order; <c>Reshape</c>, <c>Flatten</c>, <c>Expand</c>, and
///    <c>Slice</c> with positive steps, whose output certainly has the shape of the input.
/// A node that makes a graph output goes only if the node before can take over the output's name.
/// </summary>
/// <remarks>Requires: types where cases of 1 and 3 are to be found; without them they stay.</remarks>
public sealed class IdentityEliminationPass : GraphPass
{
    // Below this version Dropout has no training mode.
    private const long DropoutWithTrainingMode = 12;

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        bool changed = false;
        foreach (Node node in model.Graph.AllNodes().ToArray())
        {
            changed |= IsNoOperation(node, model.Opset) && TryRemove(node);
        }

        return changed;
    }

    private static bool IsNoOperation(Node node, long opset)
    {
        if (node.Domain.Length > 0 || node.InputOrNull(0) is not Value input || node.OutputOrNull(0) is not Value output)
        {
            return false;
        }

        return node.OpType switch
        {
            "Identity" => true,
            "Cast" => input.ElementType != DataType.Undefined && (long)input.ElementType == node.GetInt("to", 0),
            "CastLike" => input.ElementType != DataType.Undefined && input.ElementType == node.InputOrNull(1)?.ElementType,
            "Concat" or "Sum" or "Mean" or "Max" or "Min" => node.Inputs.Count == 1,
            "Dropout" => IsInferenceDropout(node, opset),
            "Transpose" => IsInOrder(node, input),
            "Reshape" or "Flatten" or "Expand" => KeepsShape(input, output),
            "Slice" => KeepsShape(input, output) && HasPositiveSteps(node),
            _ => false,
        };
    }

    private static bool KeepsShape(Value input, Value output) => input.Shape is Shape shape && shape.IsSameAs(output.Shape);

    private static bool IsInferenceDropout(Node node, long opset)
    {
        bool isTraining = opset >= DropoutWithTrainingMode && node.InputOrNull(2) is Value mode
            && !(mode is { IsConstant: true, ElementType: DataType.Bool } && mode.Initializer!.ToInt64s() is [0]);
        return !isTraining && node.OutputOrNull(1)?.IsUsed != true;
    }

    private static bool IsInOrder(Node node, Value input) => node.GetInts("perm") is long[] perm
        ? perm.Select((axis, i) => axis == i).All(same => same)
        : input.Shape is { Rank: <= 1 };

    private static bool HasPositiveSteps(Node node) => node.InputOrNull(4) is not Value steps
        || (steps.IsConstant && SymbolicTensor.FromConstant(steps.Initializer!)?.Constants() is long[] numbers && Array.TrueForAll(numbers, n => n > 0));

    private static bool TryRemove(Node node)
    {
        Value input = node.Inputs[0]!;
        Value output = node.Outputs[0];
        OnnxGraph graph = node.OwningGraph;
        if (!output.IsGraphOutput)
        {
            output.ReplaceAllUsesWith(input);
            graph.Remove(node);
            return true;
        }

        // The caller asks for the output by name, and an output cannot be an input, a constant or an outer value.
        if (input.Producer is null || input.Graph != graph || input.IsGraphOutput)
        {
            return false;
        }

        NodeReplacement.Replace(node, input);
        return true;
    }
}
