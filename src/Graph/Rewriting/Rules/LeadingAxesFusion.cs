using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// A native product over rows, <c>Reshape(product(Reshape(x, [-1, K])))</c>, reads x itself: the operators take any number of
/// leading axes, and give as many. Neither the forward nor the backward pass then needs the two reshapes and their shapes.
/// </summary>
public sealed class LeadingAxesFusion : RewriteRule
{
    private static readonly string[] Products = ["LoraLinear", "MatMulInt8", "MatMulInt8Grad"];

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        if (node.Domain != OperatorDomains.OrtQLoRA || !Products.Contains(node.OpType)
            || PatternParts.Made(node.Inputs[0], "Reshape") is not { } rows || rows.Inputs[0] is not { Shape: { Rank: > 2 } shape } x
            || rows.Outputs[0].Shape is not { Rank: 2 } flat || !flat[1].IsKnown || flat[1] != shape[^1])
        {
            return RewriteResult.NoMatch;
        }

        Value y = node.Outputs[0];
        if (y.IsGraphOutput || y.Shape is not { Rank: 2 } columns || node.Outputs.Skip(1).Any(o => o.Uses.Count > 0 || o.IsGraphOutput))
        {
            return RewriteResult.Failed("the rows are read elsewhere too", y);
        }

        Shape whole = new([.. shape.Take(shape.Rank - 1), columns[1]]);
        Node[] readers = [.. y.Uses.Select(u => u.Node)];
        if (readers.Length == 0 || !readers.All(r => r.Is("Reshape") && r.Inputs[0] == y && !r.Outputs[0].IsGraphOutput && r.Outputs[0].Shape is { } result && result.IsSameAs(whole)))
        {
            return RewriteResult.Failed("the product's rows do not take the shape of its input again", y);
        }

        node.SetInput(0, x);
        y.Type = new OnnxType.Tensor(y.ElementType, whole);
        NodeInference.Infer(node, opset);
        foreach (Node reader in readers)
        {
            reader.Outputs[0].ReplaceAllUsesWith(y);
        }

        return RewriteResult.Applied;
    }
}
