using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>The project's own int8 matrix operators: weight [K, N] quantized per column.</summary>
internal static class Int8MatrixRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.AddTo(OperatorDomains.OrtQLoRA, call => LastDimension(call, "K", "N"), "MatMulInt8");
        registry.AddTo(OperatorDomains.OrtQLoRA, call => LastDimension(call, "N", "K"), "MatMulInt8Grad");
        registry.AddTo(OperatorDomains.OrtQLoRA, Dequantize, "DequantizeInt8");
        registry.AddTo(OperatorDomains.OrtQLoRA, LoraLinear, "LoraLinear");
        registry.AddTo(OperatorDomains.OrtQLoRA, LoraLinearGrad, "LoraLinearGrad");
    }

    private static void LastDimension(OperatorCall call, string from, string to)
    {
        Shape? input = call.ShapeOf(0);
        if (input is { Rank: > 0 } && call.HasAttribute(from))
        {
            call.RequireEqual(input[^1], call.Node.GetInt(from, 0), $"the last dimension of the input and attribute '{from}'");
        }

        call.Set(0, call.TypeOf(0), input is { Rank: > 0 }
            ? input.With(input.Rank - 1, call.HasAttribute(to) ? call.Node.GetInt(to, 0) : Dimension.Unknown)
            : null);
    }

    private static void Dequantize(OperatorCall call) => call.Set(0, call.TypeOf(1), new Shape(
        call.HasAttribute("K") ? call.Node.GetInt("K", 0) : Dimension.Unknown,
        call.HasAttribute("N") ? call.Node.GetInt("N", 0) : Dimension.Unknown));

    // x [..., K], A [r, K]: y [..., N] and h [..., r].
    private static void LoraLinear(OperatorCall call)
    {
        LastDimension(call, "K", "N");
        Shape? x = call.ShapeOf(0);
        call.Set(1, call.TypeOf(0), x is { Rank: > 0 } && call.ShapeOf(3) is [var rank, _] ? x.With(x.Rank - 1, rank) : null);
    }

    private static void LoraLinearGrad(OperatorCall call)
    {
        call.Set(0, DataType.Float, call.ShapeOf(5));
        call.Set(1, DataType.Float, call.ShapeOf(6));
        call.Set(2, call.TypeOf(0), call.ShapeOf(1));
    }
}
