using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>A matrix operand that is a dequantized int8 constant, perhaps converted and transposed.</summary>
/// <param name="Quantized">The int8 initializer, a matrix.</param>
/// <param name="Scale">One scale for each index of the scale axis.</param>
/// <param name="ScaleAxis">Axis of <paramref name="Quantized"/> along which scales differ: 0 or 1.</param>
/// <param name="IsTransposed">Whether the operand is the transposed of the dequantized matrix.</param>
/// <param name="Misfit">Why the operand does not fit the native operators; null if it does.</param>
internal sealed record Int8Operand(Value Quantized, Value Scale, int ScaleAxis, bool IsTransposed, string? Misfit)
{
    /// <summary>Looks back from an operand through Transpose, Cast and Identity to DequantizeLinear.</summary>
    /// <returns>Null if no int8 constant is dequantized there.</returns>
    internal static Int8Operand? Find(Value operand)
    {
        bool isTransposed = false;
        for (Node? node = operand.Producer; node is not null; node = node.InputOrNull(0)?.Producer)
        {
            if (node.Is("DequantizeLinear"))
            {
                return node.InputOrNull(0) is { IsConstant: true, ElementType: DataType.Int8 } quantized && node.InputOrNull(1) is { } scale
                    ? new Int8Operand(quantized, scale, Axis(node), isTransposed, MisfitOf(node, quantized, scale) ?? RoundingOf(node, operand))
                    : null;
            }

            if (node.Is("Transpose") && node.GetInts("perm") is null or [1, 0])
            {
                isTransposed = !isTransposed;
            }
            else if (!node.Is("Identity") && !(node.Is("Cast") && node.Outputs[0].ElementType.IsFloatingPoint()))
            {
                return null;
            }
        }

        return null;
    }

    // The operators multiply by q * scale as it is.
    private static string? RoundingOf(Node node, Value operand) =>
        operand.ElementType == DataType.Float && node.Outputs[0].ElementType is DataType.Float16 or DataType.BFloat16
            ? $"the dequantized weight is rounded to {node.Outputs[0].ElementType.OnnxName()} before the product in float"
            : null;

    private static int Axis(Node node)
    {
        long axis = node.GetInt("axis", 1);
        return (int)(axis < 0 ? axis + 2 : axis);
    }

    private static string? MisfitOf(Node node, Value quantized, Value scale)
    {
        int axis = Axis(node);
        return quantized.Initializer!.Dims.Length != 2 || axis is not (0 or 1) ? "the int8 constant is no matrix"
            : !scale.IsConstant || (scale.ElementType != DataType.Float && scale.ElementType != DataType.Float16) ? "the scale is no float or float16 constant"
            : node.GetInt("block_size", 0) != 0 || scale.Initializer!.Dims.Length != 1 || scale.Initializer.Dims[0] != quantized.Initializer.Dims[axis] ? "there is not one scale for each row or column"
            : node.InputOrNull(2) is { } zero && !(zero.IsConstant && zero.Initializer!.ToInt64s().All(z => z == 0)) ? "the zero point is not 0"
            : null;
    }
}
