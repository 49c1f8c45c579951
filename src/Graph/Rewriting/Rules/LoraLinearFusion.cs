using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// An int8 product and the LoRA branch beside it, <c>MatMulInt8(x) + Gemm(Gemm(x, A^T) * scaling, B^T)</c>, becomes
/// <c>ortqlora.LoraLinear</c>, which keeps the product's bias.
/// </summary>
public sealed class LoraLinearFusion : RewriteRule
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> NativeOperators => ["LoraLinear", "LoraLinearGrad"];

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        if (!IsProductWithTransposed(node) || node.GetFloat("alpha", 1) != 1 || node.GetFloat("beta", 1) != 1
            || node.InputOrNull(2) is not { } addend || BehindFlatten(addend).Producer is not { } product
            || !product.Is("MatMulInt8", OperatorDomains.OrtQLoRA))
        {
            return RewriteResult.NoMatch;
        }

        if (node.Inputs[0]!.Producer is not { } down || !IsProductWithTransposed(down) || down.InputOrNull(2) is not null)
        {
            return RewriteResult.Failed("what is multiplied by B is no product with A", node.Inputs[0]);
        }

        Value x = product.Inputs[0]!;
        if (BehindFlatten(down.Inputs[0]!) != x)
        {
            return RewriteResult.Failed("the branch reads something else than the base, for example behind dropout", down.Inputs[0]);
        }

        if (x.ElementType != DataType.Float || node.Inputs[1]!.ElementType != DataType.Float)
        {
            return RewriteResult.Failed("the operator takes float only", x);
        }

        Value result = node.Outputs[0];
        Value[] wholes = addend == product.Outputs[0] ? [result] : Reshaped(result, product.Outputs[0]);
        if (wholes.Length == 0 || result.IsGraphOutput || wholes.Any(w => w.IsGraphOutput) || product.Outputs[0].IsGraphOutput)
        {
            return RewriteResult.Failed("the sum is a graph output, or read as rows", result);
        }

        Replace(node, down, product, wholes, opset);
        return RewriteResult.Applied;
    }

    private static void Replace(Node up, Node down, Node product, Value[] wholes, long opset)
    {
        GraphBuilder builder = new(product.OwningGraph, opset, product) { Scope = product.Name + "/" };
        Value[] inputs = [product.Inputs[0]!, product.Inputs[1]!, product.Inputs[2]!, down.Inputs[1]!, up.Inputs[1]!];
        Node fused = builder.Emit("LoraLinear", OperatorDomains.OrtQLoRA, product.InputOrNull(3) is { } bias ? [.. inputs, bias] : inputs, 2);
        foreach ((string name, NodeAttribute attribute) in product.Attributes)
        {
            fused.SetAttribute(name, attribute);
        }

        fused.SetAttribute("scaling", down.GetFloat("alpha", 1));
        foreach ((string key, string value) in product.Metadata)
        {
            fused.Metadata[key] = value;
        }

        NodeInference.Infer(fused, opset);
        Value y = fused.Outputs[0];
        y.Type = product.Outputs[0].Type;
        product.Outputs[0].ReplaceAllUsesWith(y);
        foreach (Value whole in wholes)
        {
            whole.ReplaceAllUsesWith(y);
        }
    }

    private static bool IsProductWithTransposed(Node node) =>
        node.Is("Gemm") && node.GetInt("transA", 0) == 0 && node.GetInt("transB", 0) == 1;

    private static Value BehindFlatten(Value value) =>
        value.Producer is { } node && node.Is("Flatten") && node.GetInt("axis", 1) == -1 ? node.Inputs[0]! : value;

    /// <summary>Reshapes of rows to the shape of the product; none if anything else reads the rows.</summary>
    private static Value[] Reshaped(Value rows, Value product)
    {
        Node[] readers = [.. rows.Uses.Select(u => u.Node)];
        return readers.All(r => r.Is("Reshape") && r.Outputs[0].Shape is { } shape && shape.IsSameAs(product.Shape))
            ? [.. readers.Select(r => r.Outputs[0])]
            : [];
    }
}
