namespace OrtQLoRA.Graph.IR;

/// <summary>Shape operands of Reshape that need no computed shape.</summary>
internal static class ReshapeDims
{
    /// <summary>
    /// Constant dimensions for a Reshape with <c>allowzero = 0</c>: 0 copies a dimension that is certain to be equal, one -1
    /// takes what is left. -1 is avoided beside a dimension that may be zero, where it has no answer.
    /// </summary>
    /// <param name="from">Shape of what is reshaped; null if not known.</param>
    /// <param name="to">Shape of the result, of as many elements.</param>
    /// <returns>The dimensions; null where only a computed shape will do.</returns>
    internal static long[]? Constant(Shape? from, Shape to)
    {
        long[] dims = new long[to.Rank];
        int open = -1;
        bool onlyPositiveNumbers = true;
        for (int i = 0; i < to.Rank; i++)
        {
            bool copies = from is not null && i < from.Rank && to[i].IsSameAs(from[i]);
            if (to[i].Value is > 0)
            {
                dims[i] = to[i].Value!.Value;
            }
            else if (copies)
            {
                dims[i] = 0;
                onlyPositiveNumbers = false;
            }
            else if (open < 0 && !to[i].IsKnown)
            {
                open = i;
                dims[i] = -1;
            }
            else
            {
                return null;
            }
        }

        return open < 0 || onlyPositiveNumbers ? dims : null;
    }
}
