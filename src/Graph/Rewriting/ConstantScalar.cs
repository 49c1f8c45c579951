using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting;

/// <summary>Reads constants that hold a single number.</summary>
public static class ConstantScalar
{
    /// <summary>Reads an initializer with one element (of any rank) as a number.</summary>
    /// <returns>False if the value is not constant, has not one element, or is not a number.</returns>
    public static bool TryRead(Value? value, out double number)
    {
        number = 0;
        if (value is not { IsConstant: true, Initializer: { } content } || content.ElementCount() != 1)
        {
            return false;
        }

        if (content.ElementType == DataType.Double)
        {
            number = content.ToArray<double>()[0];
            return true;
        }

        if (content.ElementType.IsFloatingPoint())
        {
            number = content.ToFloats()[0];
            return true;
        }

        if (content.ElementType.IsInteger())
        {
            number = content.ToInt64s()[0];
            return true;
        }

        return false;
    }
}
