using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>
/// Arithmetic, comparisons and reductions on the content of small tensors. Whole numbers in floating point are
/// followed too; what rounds there is not.
/// </summary>
internal static class ArithmeticContentRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.AddContent(Elementwise(2, (_, x) => x[0] + x[1]), "Add");
        registry.AddContent(Elementwise(2, (_, x) => x[0] - x[1]), "Sub");
        registry.AddContent(Elementwise(2, (_, x) => x[0] * x[1]), "Mul");
        registry.AddContent(Elementwise(2, Divide), "Div");
        registry.AddContent(Elementwise(2, Modulo), "Mod");
        registry.AddContent(Elementwise(1, (_, x) => -x[0]), "Neg");
        registry.AddContent(Elementwise(1, (_, x) => x[0]?.LowerBound >= 0 ? x[0] : x[0]?.UpperBound <= 0 ? -x[0] : null), "Abs");
        registry.AddContent(Elementwise(1, (_, x) => x[0]), "Floor", "Ceil", "Round");
        registry.AddContent(Variadic((_, x) => x.Aggregate(SymbolicExpression.Min)), "Min");
        registry.AddContent(Variadic((_, x) => x.Aggregate(SymbolicExpression.Max)), "Max");
        registry.AddContent(Variadic((_, x) => x.Aggregate(SymbolicExpression.Add)), "Sum");
        registry.AddContent(Elementwise(2, (_, x) => Truth(IsZero(x[0] - x[1]))), "Equal");
        registry.AddContent(Elementwise(2, (_, x) => Truth(IsBelow(x[0], x[1]))), "Less");
        registry.AddContent(Elementwise(2, (_, x) => Truth(IsBelow(x[1], x[0]))), "Greater");
        registry.AddContent(Elementwise(2, (_, x) => Truth(!IsBelow(x[1], x[0]))), "LessOrEqual");
        registry.AddContent(Elementwise(2, (_, x) => Truth(!IsBelow(x[0], x[1]))), "GreaterOrEqual");
        registry.AddContent(Elementwise(1, (_, x) => Truth(IsZero(x[0]))), "Not");
        registry.AddContent(Elementwise(2, (_, x) => Truth(IsZero(x[0] * x[1]) is bool zero ? !zero : null)), "And");
        registry.AddContent(Elementwise(2, (_, x) => Truth(IsZero(x[0] + x[1]) is bool zero ? !zero : null)), "Or");
        registry.AddContent(Elementwise(3, Choose), "Where");
        registry.AddContent(Elementwise(1, (call, x) => Cast(x[0], ConversionRules.TypeAttribute(call, "to"))), "Cast");
        registry.AddContent((call, _) => call.ContentOf(0)?.Map(x => Cast(x, call.TypeOf(1))), "CastLike");
        registry.AddContent(Reduce(SymbolicExpression.Multiply, SymbolicExpression.One), "ReduceProd");
        registry.AddContent(Reduce(SymbolicExpression.Add, SymbolicExpression.Zero), "ReduceSum");
        registry.AddContent(Reduce(SymbolicExpression.Max, null), "ReduceMax");
        registry.AddContent(Reduce(SymbolicExpression.Min, null), "ReduceMin");
    }

    private static ContentRule Elementwise(int arity, Func<OperatorCall, SymbolicExpression?[], SymbolicExpression?> function) =>
        (call, output) => call.Node.Inputs.Count == arity ? Variadic(function)(call, output) : null;

    private static ContentRule Variadic(Func<OperatorCall, SymbolicExpression?[], SymbolicExpression?> function) => (call, _) =>
    {
        SymbolicTensor[] inputs = new SymbolicTensor[call.Node.Inputs.Count];
        for (int i = 0; i < inputs.Length; i++)
        {
            if (call.ContentOf(i) is not SymbolicTensor content)
            {
                return null;
            }

            inputs[i] = content;
        }

        return inputs.Length == 0 ? null : SymbolicTensor.Combine(inputs, operands => call.Context.Resolve(function(call, operands)));
    };

    private static ContentRule Reduce(Func<SymbolicExpression?, SymbolicExpression?, SymbolicExpression?> function, SymbolicExpression? empty) => (call, _) =>
    {
        long[]? axes = call.IntsFrom("axes", 1, out bool isKnown);
        if (!isKnown || call.ContentOf(0) is not SymbolicTensor content)
        {
            return null;
        }

        if (axes is null or [])
        {
            if (call.Node.GetInt("noop_with_empty_axes", 0) != 0)
            {
                return content;
            }

            axes = [.. Enumerable.Range(0, content.Dims.Length).Select(i => (long)i)];
        }

        return content.Reduce(call.Axes(axes, content.Dims.Length), call.Node.GetInt("keepdims", 1) != 0, elements => elements.Length == 0 ? empty : elements.Aggregate(function));
    };

    // Integers divide towards zero, which is the floor where nothing is negative.
    private static SymbolicExpression? Divide(OperatorCall call, SymbolicExpression?[] x)
    {
        if (x[0] is { Constant: long a } && x[1] is { Constant: long b and not 0 and not -1 })
        {
            return a % b == 0 || call.TypeOf(0).IsInteger() ? SymbolicExpression.Of(a / b) : null;
        }

        return call.TypeOf(0).IsInteger() && x[0]?.LowerBound >= 0
            ? SymbolicExpression.FloorDivide(x[0], x[1])
            : SymbolicExpression.DivideExactly(x[0], x[1]);
    }

    // fmod = 0 takes the sign of the divisor, fmod = 1 that of the dividend.
    private static SymbolicExpression? Modulo(OperatorCall call, SymbolicExpression?[] x) =>
        x[1]?.LowerBound > 0 && (call.Node.GetInt("fmod", 0) == 0 || x[0]?.LowerBound >= 0)
            ? x[0] - (x[1] * SymbolicExpression.FloorDivide(x[0], x[1]))
            : null;

    private static SymbolicExpression? Choose(OperatorCall call, SymbolicExpression?[] x) => IsZero(x[0]) switch
    {
        true => x[2],
        false => x[1],
        null => x[1] is not null && x[1]!.Equals(x[2]) ? x[1] : null,
    };

    private static SymbolicExpression? Cast(SymbolicExpression? x, DataType to) => to switch
    {
        DataType.Int64 or DataType.Int32 or DataType.Float or DataType.Double => x,
        DataType.Bool => Truth(IsZero(x) is bool zero ? !zero : null),
        _ => null,
    };

    private static SymbolicExpression? Truth(bool? value) => value switch
    {
        true => SymbolicExpression.One,
        false => SymbolicExpression.Zero,
        null => null,
    };

    private static bool? IsZero(SymbolicExpression? x) => x switch
    {
        { Constant: long value } => value == 0,
        { LowerBound: > 0 } or { UpperBound: < 0 } => false,
        _ => null,
    };

    private static bool? IsBelow(SymbolicExpression? x, SymbolicExpression? y) => (y - x) switch
    {
        { LowerBound: > 0 } => true,
        { UpperBound: <= 0 } => false,
        _ => null,
    };
}
