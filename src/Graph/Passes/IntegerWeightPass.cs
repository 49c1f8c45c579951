using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes.Decomposition;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Writes integer weights that a Cast, perhaps a Sub of zero points, and a Mul by scales turn into numbers as one
/// <c>DequantizeLinear</c>, as long as scales and zero points are one for the tensor or one for each index of an axis. The
/// integers stay as they are stored, where constant folding would put a float weight in their place.
/// </summary>
/// <remarks>Requires: opset 13, Constant nodes turned into initializers.</remarks>
public sealed class IntegerWeightPass : GraphPass
{
    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        bool changed = false;
        foreach (Node node in model.Graph.AllNodes().Where(n => n.Is("Mul")).ToArray())
        {
            changed |= TryRewrite(node, model.Opset);
        }

        return changed;
    }

    private static bool TryRewrite(Node node, long opset)
    {
        if (node.Graph is null || WeightTrace.Of(node.Outputs[0]) is not { Storage: WeightStorage.CastAndScale, IsTransposed: false, Slice: null } trace
            || trace.Chain[^1] != node || trace.Chain.Exists(n => n.OpType is not ("Cast" or "Sub" or "Mul" or "Identity")) || node.Outputs[0].IsGraphOutput)
        {
            return false;
        }

        Value scale = trace.Chain[^2].Outputs[0] == node.Inputs[0] ? node.Inputs[1]! : node.Inputs[0]!;
        Value? zero = trace.Chain.Find(n => n.Is("Sub"))?.Inputs[1];
        if (ConstantOf(scale) is not { } scales || Layout(scales, trace.Content) is not { } layout
            || (zero is not null && (ConstantOf(zero) is not { } zeros || Layout(zeros, trace.Content) is not { } other || (other != layout && zeros.ElementCount() != 1))))
        {
            return false;
        }

        DenseTensor? zeroPoints = zero is null ? null : ZeroPoints(ConstantOf(zero)!, trace.Content, layout.Count);
        if (zero is not null && zeroPoints is null)
        {
            return false;
        }

        GraphBuilder builder = new(node.OwningGraph, opset, node) { Scope = node.Name + "/" };
        long[] dims = layout.Count == 1 ? [] : [layout.Count];
        Value factor = scale.Producer is null && scales.Dims.SequenceEqual(dims) ? scale : Flat(node.OwningGraph, scale, scales, dims);
        Value dequantized = builder.Op(
            "DequantizeLinear", [trace.Root, factor, zeroPoints is null ? null : builder.Constant(zeroPoints)], ("axis", (long)layout.Axis));
        node.Outputs[0].ReplaceAllUsesWith(dequantized);
        return true;
    }

    // Scales stay constants: who reads quantized weights asks for that.
    private static Value Flat(OnnxGraph graph, Value scale, ITensor scales, long[] dims) =>
        graph.AddInitializer(graph.Names.Reserve(scale.Name), new RetypedTensor(ConvertedTensor.To(scales, scale.ElementType), scale.ElementType, dims));

    private static ITensor? ConstantOf(Value value) => ConstantContent.DefaultOf(value)
        ?? (value.Producer is { } cast && cast.Is("Cast") && ConstantContent.DefaultOf(cast.InputOrNull(0)) is { } content && content.ElementType.IsFloatingPoint() ? content : null);

    /// <summary>Which axis of the weight the numbers are for, and how many they are; null if they are neither one nor one for each index.</summary>
    private static (int Axis, long Count)? Layout(ITensor numbers, ITensor weight)
    {
        int missing = weight.Dims.Length - numbers.Dims.Length;
        if (missing < 0)
        {
            return null;
        }

        int[] axes = [.. Enumerable.Range(0, numbers.Dims.Length).Where(i => numbers.Dims[i] != 1).Select(i => i + missing)];
        return axes switch
        {
            [] => (0, 1),
            [var axis] when numbers.Dims[axis - missing] == weight.Dims[axis] => (axis, weight.Dims[axis]),
            _ => null,
        };
    }

    // Zero points in the integers' own type, one for each scale; null if they are no integers of it.
    private static DenseTensor? ZeroPoints(ITensor zeros, ITensor weight, long count)
    {
        float[] values = zeros.ElementType.IsFloatingPoint() ? zeros.ToFloats() : Array.ConvertAll(zeros.ToInt64s(), v => (float)v);
        (int low, int high) = weight.ElementType == DataType.Int8 ? (-128, 127) : weight.ElementType == DataType.UInt8 ? (0, 255) : (0, -1);
        if (!Array.TrueForAll(values, v => v == MathF.Round(v) && v >= low && v <= high))
        {
            return null;
        }

        byte[] bytes = [.. Enumerable.Range(0, (int)count).Select(i => unchecked((byte)(int)values[values.Length == 1 ? 0 : i]))];
        return new DenseTensor(weight.ElementType, count == 1 ? [] : [count], bytes);
    }
}
