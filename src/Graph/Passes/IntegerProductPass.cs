using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Writes products of integers (MatMulInteger and ConvInteger with their scales, MatMulIntegerToFloat, DynamicQuantizeMatMul) as a
/// plain product of what both sides stand for: <c>MatMul(DequantizeLinear(a), DequantizeLinear(b))</c>. The values stay the same up
/// to rounding of the sum, which int32 computes exactly.
/// </summary>
/// <remarks>Requires: opset 13. A product whose scales are not applied right behind it stays.</remarks>
public sealed class IntegerProductPass : GraphPass
{
    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        bool changed = false;
        foreach (Node node in model.Graph.AllNodes().ToArray())
        {
            if (node.Graph is not null && IntegerProduct.Of(node) is { } product)
            {
                product.Rewrite(model.Opset);
                changed = true;
            }
        }

        return changed;
    }
}
