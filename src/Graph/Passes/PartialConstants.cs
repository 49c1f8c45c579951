using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Integer tensors, made from shapes, of which some elements are known although others depend on the inputs: the
/// output of Shape where only some dimensions are static, and what data movement makes of it.
/// </summary>
internal sealed class PartialConstants(ReferenceEvaluator evaluator)
{
    private static readonly HashSet<string> DataMovement = ["Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Reshape", "Identity", "Cast"];

    private readonly Dictionary<Value, Partial> _known = [];

    /// <summary>Known elements, and a tensor of the same shape that is 1 where an element is known.</summary>
    private sealed record Partial(ReferenceTensor Elements, ReferenceTensor Mask)
    {
        public bool IsComplete => Mask.Integers.All(m => m == 1);
    }

    /// <summary>Computes what is known of a node's output.</summary>
    /// <param name="node">The node.</param>
    /// <param name="constant">Reads a constant input; null if a value is not constant.</param>
    /// <returns>The whole output if every element is known, else null.</returns>
    public ReferenceTensor? Compute(Node node, Func<Value, ReferenceTensor?> constant)
    {
        Partial? result = node.Is("Shape") ? OfShape(node)
            : node.Is("Size") && node.InputOrNull(0)?.Shape?.ElementCount is long count ? Complete(ReferenceTensor.OfIntegers(DataType.Int64, [], count))
            : node.Domain.Length == 0 && DataMovement.Contains(node.OpType) ? Moved(node, constant)
            : null;
        if (result is null)
        {
            return null;
        }

        _known[node.Outputs[0]] = result;
        return result.IsComplete ? result.Elements : null;
    }

    private static Partial? OfShape(Node node)
    {
        if (node.InputOrNull(0)?.Shape is not { } shape)
        {
            return null;
        }

        int start = Clamp(node.GetInt("start", 0), shape.Rank);
        int end = Math.Max(start, Clamp(node.GetInt("end", shape.Rank), shape.Rank));
        Dimension[] dims = [.. shape.Take(end).Skip(start)];
        return new(
            ReferenceTensor.Int64Vector([.. dims.Select(d => d.Value ?? 0)]),
            ReferenceTensor.Int64Vector([.. dims.Select(d => d.IsKnown ? 1L : 0L)]));
    }

    private static int Clamp(long bound, int rank) => (int)Math.Clamp(bound < 0 ? bound + rank : bound, 0, rank);

    // Moves the elements and the mask by the node itself; inputs that steer the movement must be whole constants.
    private Partial? Moved(Node node, Func<Value, ReferenceTensor?> constant)
    {
        int moved = node.OpType == "Concat" ? node.Inputs.Count : 1;
        if (!node.Inputs.Take(moved).Any(i => i is not null && _known.ContainsKey(i)))
        {
            return null;
        }

        List<ReferenceTensor?> elements = [];
        List<ReferenceTensor?> masks = [];
        for (int i = 0; i < node.Inputs.Count; i++)
        {
            Value? input = node.Inputs[i];
            Partial? partial = input is null ? null
                : _known.TryGetValue(input, out Partial? known) ? known
                : constant(input) is { IsInteger: true } whole ? Complete(whole)
                : null;
            if ((input is not null && partial is null) || (i >= moved && partial?.IsComplete == false))
            {
                return null;
            }

            elements.Add(partial?.Elements);
            masks.Add(i < moved ? partial?.Mask : partial?.Elements);
        }

        return evaluator.RunNode(node, elements)[0] is { IsInteger: true } result && evaluator.RunNode(node, masks)[0] is { } mask
            ? new(result, mask)
            : null;
    }

    private static Partial Complete(ReferenceTensor tensor) => new(tensor, ReferenceTensor.Filled(tensor.ElementType, tensor.Dims, 1));
}
