using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>What the rules that look for exporters' patterns have in common.</summary>
internal static class PatternParts
{
    /// <summary>The node that computes a value, if it is this operator of ONNX's own.</summary>
    internal static Node? Made(Value? value, string opType) => value?.Producer is { } node && node.Is(opType) ? node : null;

    /// <summary>Both orders of a node's two operands.</summary>
    internal static IEnumerable<(Value First, Value Second)> Orders(Node node)
    {
        if (node.InputOrNull(0) is { } first && node.InputOrNull(1) is { } second)
        {
            yield return (first, second);
            yield return (second, first);
        }
    }

    /// <summary>Operand and number of a product (or sum) of a value and a constant scalar.</summary>
    internal static (Value Operand, double Number)? WithNumber(Value? value, string opType)
    {
        if (Made(value, opType) is not { } node)
        {
            return null;
        }

        foreach ((Value operand, Value constant) in Orders(node))
        {
            if (ConstantContent.Number(constant) is double number && Keeps(value!, operand))
            {
                return (operand, number);
            }
        }

        return null;
    }

    /// <summary>What is divided by a constant scalar.</summary>
    internal static (Value Operand, double Number)? Divided(Value? value) =>
        Made(value, "Div") is { } node && ConstantContent.Number(node.InputOrNull(1)) is double number && node.Inputs[0] is { } operand && Keeps(value!, operand)
            ? (operand, number)
            : null;

    /// <summary>Strips products and quotients with constants off a value.</summary>
    internal static (Value Operand, double Factor) Unscaled(Value value)
    {
        double factor = 1;
        while (true)
        {
            if (WithNumber(value, "Mul") is { } product)
            {
                (value, factor) = (product.Operand, factor * product.Number);
            }
            else if (Divided(value) is { } quotient)
            {
                (value, factor) = (quotient.Operand, factor / quotient.Number);
            }
            else
            {
                return (value, factor);
            }
        }
    }

    /// <summary>What is squared, as x * x or x^2.</summary>
    internal static Value? Squared(Value? value) =>
        Made(value, "Mul") is { } product && product.Inputs[0] == product.Inputs[1] ? product.Inputs[0]
        : Made(value, "Pow") is { } power && ConstantContent.Number(power.InputOrNull(1)) == 2 ? power.Inputs[0]
        : null;

    /// <summary>What a mean over the last axis is taken of, that axis kept.</summary>
    internal static Value? MeanedOverLastAxis(Value? value) =>
        Made(value, "ReduceMean") is { } node && node.GetInt("keepdims", 1) == 1 && node.Inputs[0] is { Shape: { Rank: > 0 } shape } x
        && (node.GetInts("axes") ?? ConstantContent.Int64s(node.InputOrNull(1))) is [var axis] && (axis == -1 || axis == shape.Rank - 1)
            ? x
            : null;

    /// <summary>Whether a value is a float vector as long as another's last axis.</summary>
    internal static bool IsRow(Value? vector, Value like) =>
        vector is { ElementType: DataType.Float, Shape: { Rank: 1 } shape } && like.Shape is { Rank: > 0 } whole && shape[0].IsSameAs(whole[^1]);

    /// <summary>Emits a native operator in the place of a node, with the node's metadata.</summary>
    internal static Node EmitNative(
        Node place, long opset, string opType, IEnumerable<Value?> inputs, int outputs, params ReadOnlySpan<(string Name, NodeAttribute Value)> attributes)
    {
        GraphBuilder builder = new(place.OwningGraph, opset, place) { Scope = place.Name + "/" };
        Node node = builder.Emit(opType, OperatorDomains.OrtQLoRA, inputs, outputs, attributes);
        foreach ((string key, string value) in place.Metadata)
        {
            node.Metadata[key] = value;
        }

        return node;
    }

    /// <summary>Makes readers of a value read a native operator's result instead.</summary>
    internal static RewriteResult Replace(Value value, Value replacement)
    {
        replacement.Type = value.Type ?? replacement.Type;
        value.ReplaceAllUsesWith(replacement);
        return RewriteResult.Applied;
    }

    // A constant of one element may have a higher rank than what it scales.
    private static bool Keeps(Value result, Value operand) =>
        operand.Shape is { } shape && result.Shape is { } whole && shape.Rank == whole.Rank && result.ElementType == operand.ElementType;
}
