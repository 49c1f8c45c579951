using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Lets gradients pass activations that a QuantizeLinear or DynamicQuantizeLinear rounds and a DequantizeLinear with the same scale and
/// zero point reads: <c>y = c + stop_gradient(DequantizeLinear(QuantizeLinear(x)) - c)</c>, where c is x, clipped to what the integers can
/// hold. The forward value is the rounded one, as the served model computes it; the gradient is that of c (straight through, as
/// quantization-aware training does, and zero where x saturates).
/// </summary>
/// <remarks>
/// Requires: opset 13, inferred types. Scales in blocks, float8 and scales that are computed for each axis are passed straight, without clipping.
/// Constants that are quantized in the graph are weights and left alone.
/// </remarks>
public sealed class FakeQuantizationPass : GraphPass
{
    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        bool changed = false;
        foreach (Node node in model.Graph.Nodes.ToArray())
        {
            if (IsDequantizer(node) && node.InputOrNull(0)?.Producer is { } quantizer && SourceOf(quantizer, node) is { IsConstant: false } source)
            {
                OutputNames.Rewrite(node.Outputs[0], rounded => StraightThrough(model, node, quantizer, source, rounded));
                changed = true;
            }
        }

        return changed;
    }

    private static bool IsDequantizer(Node node) => node.Is("DequantizeLinear") || node.Is("DequantizeLinear", OperatorDomains.Microsoft);

    /// <summary>What the quantizer rounds, if the node undoes exactly that; else null.</summary>
    private static Value? SourceOf(Node quantizer, Node dequantizer)
    {
        if (quantizer.Is("DynamicQuantizeLinear"))
        {
            return dequantizer.Inputs[0] == quantizer.Outputs[0] && dequantizer.Inputs[1] == quantizer.OutputOrNull(1) && dequantizer.InputOrNull(2) == quantizer.OutputOrNull(2)
                ? quantizer.Inputs[0]
                : null;
        }

        return (quantizer.Is("QuantizeLinear") || quantizer.Is("QuantizeLinear", OperatorDomains.Microsoft))
            && AreEqual(quantizer.InputOrNull(1), dequantizer.InputOrNull(1))
            && (AreEqual(quantizer.InputOrNull(2), dequantizer.InputOrNull(2)) || (IsZero(quantizer.InputOrNull(2)) && IsZero(dequantizer.InputOrNull(2))))
            ? quantizer.Inputs[0]
            : null;
    }

    // Quantizers give every node its own copy of scale and zero point.
    private static bool AreEqual(Value? a, Value? b) => a == b
        || (a?.Initializer is { } first && b?.Initializer is { } second && first.ElementType == second.ElementType && first.Dims.SequenceEqual(second.Dims)
            && first.ToBytes().AsSpan().SequenceEqual(second.ToBytes()));

    private static bool IsZero(Value? zeroPoint) =>
        zeroPoint is null || (zeroPoint.Initializer is { } content && content.ToBytes().AsSpan().IndexOfAnyExcept((byte)0) < 0);

    private static Value StraightThrough(OnnxModel model, Node dequantizer, Node quantizer, Value source, Value rounded)
    {
        GraphBuilder builder = new(model.Graph, model.Opset, dequantizer.Next) { Scope = dequantizer.Name + "/" };
        Value x = builder.Cast(source, rounded.ElementType);
        Value clipped = quantizer.Is("DynamicQuantizeLinear") ? x : Clipped(builder, quantizer, x);
        Value difference = builder.Sub(rounded, clipped);
        NonDifferentiableOps.Detach(difference.Producer!);
        return builder.Add(clipped, difference);
    }

    // Half a step beyond the last integer on either side still rounds to it.
    private static Value Clipped(GraphBuilder builder, Node quantizer, Value x)
    {
        DataType type = quantizer.Outputs[0].ElementType;
        if (quantizer.Inputs[1]?.Initializer is not { } scales || !ReferenceTensor.HoldsIntegers(type) || quantizer.GetInt("block_size", 0) != 0
            || (scales.ElementCount() != 1 && x.Shape is null) || (quantizer.InputOrNull(2) is { } zero && zero.Initializer is null))
        {
            return x;
        }

        float[] scale = scales.ToFloats();
        long[] zeroPoints = quantizer.InputOrNull(2)?.Initializer?.ToInt64s() ?? [0];
        (double least, double most) = RangeOf(type);
        if (scale.Length == 1)
        {
            return builder.Op("Clip", [x, builder.ScalarLike(x, (least - 0.5 - zeroPoints[0]) * scale[0]), builder.ScalarLike(x, (most + 0.5 - zeroPoints[0]) * scale[0])]);
        }

        int rank = x.Shape!.Rank;
        long axis = quantizer.GetInt("axis", 1);
        long[] dims = [.. Enumerable.Repeat(1L, rank)];
        dims[axis < 0 ? axis + rank : axis] = scale.Length;
        return builder.Op("Max", [builder.Op("Min", [x, Bounds(most + 0.5)]), Bounds(least - 0.5)]);

        Value Bounds(double integer) => builder.Cast(
            builder.Constant(DenseTensor.Of(dims, [.. scale.Select((s, i) => (float)((integer - zeroPoints[zeroPoints.Length == 1 ? 0 : i]) * s))])), x.ElementType);
    }

    private static (double Least, double Most) RangeOf(DataType type)
    {
        int bits = type.BitWidth();
        return type is DataType.Int2 or DataType.Int4 or DataType.Int8 or DataType.Int16 or DataType.Int32
            ? (-Math.Pow(2, bits - 1), Math.Pow(2, bits - 1) - 1)
            : (0, Math.Pow(2, bits) - 1);
    }
}
