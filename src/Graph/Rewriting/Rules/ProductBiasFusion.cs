using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// A bias added to a native product, <c>product(x) + bias</c>, becomes the product's own: one pass over the result less, forward
/// and, for a bias that is not trained, backward. Follows <see cref="LeadingAxesFusion"/>, without which a reshape stands between.
/// </summary>
public sealed class ProductBiasFusion : RewriteRule
{
    // Where each operator takes its bias.
    private static readonly Dictionary<string, int> BiasInputs = new(StringComparer.Ordinal) { ["LoraLinear"] = 5, ["MatMulInt8"] = 3 };

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        if (!node.Is("Add"))
        {
            return RewriteResult.NoMatch;
        }

        foreach (int index in (int[])[0, 1])
        {
            if (node.InputOrNull(index) is not { Producer: { Domain: OperatorDomains.OrtQLoRA } product } sum || !BiasInputs.TryGetValue(product.OpType, out int place)
                || node.InputOrNull(1 - index) is not { Producer: null, Shape: { Rank: 1 } shape } bias)
            {
                continue;
            }

            if (product.InputOrNull(place) is not null || shape[0].Value != product.GetInt("N", 0))
            {
                return RewriteResult.Failed("the product has a bias already, or this one has another length", bias);
            }

            if (sum.Uses.Count > 1 || sum.IsGraphOutput || node.Outputs[0].IsGraphOutput)
            {
                return RewriteResult.Failed("the product is read without the bias too, or the sum is a graph output", sum);
            }

            if (bias.ElementType != DataType.Float || sum.ElementType != DataType.Float)
            {
                return RewriteResult.Failed("product and bias are not both float", bias);
            }

            while (product.Inputs.Count <= place)
            {
                product.AddInput(null);
            }

            product.SetInput(place, bias);
            node.Outputs[0].ReplaceAllUsesWith(sum);
            return RewriteResult.Applied;
        }

        return RewriteResult.NoMatch;
    }
}
