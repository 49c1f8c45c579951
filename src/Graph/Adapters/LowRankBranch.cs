using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>
/// A product with a low-rank branch beside it, <c>W x + scaling B A x + bias</c>, in the form that the native operators fuse. The
/// branch computes in fp32 whatever the base computes in. The scaling is applied where the tensor is narrowest, behind A. The sum
/// joins the product before its bias is added, so that runtimes go on fusing bias and activation.
/// </summary>
internal static class LowRankBranch
{
    /// <summary>The sum, like the site's product.</summary>
    /// <param name="builder">Emits behind the product.</param>
    /// <param name="site">A linear layer.</param>
    /// <param name="x">What A reads, fp32 and laid out as the site's own input.</param>
    /// <param name="a">[r, in].</param>
    /// <param name="b">[out, r].</param>
    /// <param name="scaling">Multiplies the branch.</param>
    /// <param name="bias">Added to the branch [out], scaled already; null for none.</param>
    public static Value Sum(GraphBuilder builder, LinearSite site, Value x, Value a, Value b, double scaling, Value? bias = null)
    {
        DataType type = SiteBranch.ProductType(site);
        return site.IsWeightLeft ? WeightLeft(builder, site, x, a, b, scaling, bias, type) : Linear(builder, site, x, a, b, scaling, bias, type);
    }

    private static Value Linear(GraphBuilder builder, LinearSite site, Value x, Value a, Value b, double scaling, Value? bias, DataType type)
    {
        Value narrow = builder.Op("Gemm", [Rows(builder, x), a], ("transB", 1), ("alpha", (float)scaling));
        if (type == DataType.Float)
        {
            // The second Gemm adds the product as well.
            Value sum = LikeProduct(builder, site, builder.Op("Gemm", [narrow, b, Rows(builder, site.Product)], ("transB", 1)));
            return bias is null ? sum : builder.Add(sum, bias);
        }

        Value delta = builder.Op("Gemm", [narrow, b, bias], ("transB", 1));
        return builder.Add(site.Product, builder.Cast(LikeProduct(builder, site, delta), type));
    }

    // [.., features] as [rows, features], without a copy: Gemm scales and adds within the product, and its gradient is two
    // more Gemm in the parameters' own orientation.
    private static Value Rows(GraphBuilder builder, Value x) => x.Shape is { Rank: 2 } ? x : builder.Op("Flatten", [x], ("axis", -1));

    private static Value LikeProduct(GraphBuilder builder, LinearSite site, Value rows)
    {
        if (site.Product.Shape is { Rank: 2 })
        {
            return rows;
        }

        Value result = builder.Reshape(rows, builder.ShapeOf(site.Product));
        result.Type = new OnnxType.Tensor(rows.ElementType, site.Product.Shape);
        return result;
    }

    // y = W x: the features lie along the second-last axis, and the branch is B (A x).
    private static Value WeightLeft(GraphBuilder builder, LinearSite site, Value x, Value a, Value b, double scaling, Value? bias, DataType type)
    {
        Value hidden = site.Node.Is("Gemm")
            ? builder.Op("Gemm", [a, x], ("transB", site.Node.GetInt("transB", 0)))
            : builder.MatMul(a, x);
        Value delta = builder.MatMul(b, builder.Mul(hidden, scaling));
        if (bias is not null)
        {
            delta = builder.Add(delta, builder.Unsqueeze(bias, 1));
        }

        return builder.Add(site.Product, builder.Cast(delta, type));
    }
}
