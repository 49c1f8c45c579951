using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>Makes small constant tensors of a given element type.</summary>
internal static class Constants
{
    /// <summary>A tensor of one element, as <c>ConstantOfShape</c> wants it.</summary>
    /// <exception cref="GraphException">The type is no number that gradients have.</exception>
    public static DenseTensor Filled(DataType type, double value) => type switch
    {
        DataType.Float => DenseTensor.Vector((float)value),
        DataType.Double => DenseTensor.Vector(value),
        DataType.Float16 => DenseTensor.Vector((Half)value),
        DataType.BFloat16 => new DenseTensor(type, [1], BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits((float)value) >> 16))),
        DataType.Int64 => DenseTensor.Vector((long)value),
        _ => throw new GraphException($"A constant of type {type.OnnxName()} cannot be made here; gradients have a floating-point type. Run shape inference before the gradient is built."),
    };
}
