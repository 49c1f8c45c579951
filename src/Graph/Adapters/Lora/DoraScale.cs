using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>
/// DoRA (Liu et al. 2024, arXiv 2402.09353): the factor <c>m / n</c> of each output, n being the norm of the row of
/// <c>W + scaling B A</c> at the present step. No gradient passes through n.
/// </summary>
/// <remarks>
/// The sum is never formed: <c>n^2 = |W|^2 + 2 s rows(B o (W A^T)) + s^2 rows((B (A A^T)) o B)</c>, where the first term is a
/// constant and <c>W A^T</c> is a product of r rows with the frozen weight, as cheap as r more tokens, on an int8 base through
/// the same operator as the layer's own product.
/// </remarks>
internal static class DoraScale
{
    /// <summary>m / n [out] of a layer, emitted before its first site.</summary>
    public static Value Emit(AdapterInsertionContext context, LoraLayer layer, string scope)
    {
        LinearSite site = layer.Module.Sites[0];
        GraphBuilder b = context.Before(site, scope);
        Value a = context.Input(layer.A);
        Value bMatrix = context.Input(layer.B);
        Value weight = b.Cast(site.Node.Inputs[site.WeightIndex]!, DataType.Float);

        // [out, r]; an embedding's table is [vocabulary, dim], W^T in LoRA's terms.
        Value product = layer.IsEmbedding || !IsReadOutByIn(site)
            ? b.Transpose(b.MatMul(a, weight), 1, 0)
            : b.Transpose(b.Op("Gemm", [a, weight], ("transB", 1)), 1, 0);
        double factor = layer.Scaling;
        Value cross = b.ReduceSum(b.Mul(bMatrix, product), false, 1);
        Value own = b.ReduceSum(b.Mul(b.MatMul(bMatrix, b.MatMul(a, b.Transpose(a, 1, 0))), bMatrix), false, 1);
        Value squares = b.Constant(DenseTensor.Vector(SquaredNorms(layer)));
        Value sum = b.Add(b.Add(squares, b.Mul(cross, 2 * factor * site.WeightFactor)), b.Mul(own, factor * factor));
        Value norm = AdapterInsertionContext.Detach(b, b.Op("Sqrt", [sum]));
        return b.Div(context.Input(layer.Magnitude!), norm);
    }

    /// <summary>The adapted product times m / n; a bias that the product's own node adds is not scaled.</summary>
    /// <param name="b">Emits behind the product.</param>
    /// <param name="site">The site.</param>
    /// <param name="sum">Product and LoRA branch.</param>
    /// <param name="scale">m / n [out].</param>
    public static Value Apply(GraphBuilder b, LinearSite site, Value sum, Value scale)
    {
        Value y = b.Cast(sum, DataType.Float);
        Value factors = Factors(b, site, scale);
        if (OwnBias(b, site) is { } bias)
        {
            y = b.Add(b.Mul(b.Sub(y, bias), factors), bias);
        }
        else
        {
            y = b.Mul(y, factors);
        }

        return b.Cast(y, SiteBranch.ProductType(site));
    }

    /// <summary>
    /// The same where dropout acts: <c>y = W x + (m/n - 1) W x_d + m/n * scaling B(A x_d)</c>. The base's own product sees the whole
    /// input, the rest the dropped one, which takes a second product with the frozen weight.
    /// </summary>
    /// <param name="b">Emits behind the product.</param>
    /// <param name="site">The site.</param>
    /// <param name="sum">Product and LoRA branch.</param>
    /// <param name="scale">m / n [out].</param>
    /// <param name="dropped">The dropped input x_d.</param>
    public static Value ApplyBesideDropout(GraphBuilder b, LinearSite site, Value sum, Value scale, Value dropped)
    {
        Value factors = Factors(b, site, scale);
        Value product = b.Cast(site.Product, DataType.Float);
        Value branch = b.Sub(b.Cast(sum, DataType.Float), product);
        Value?[] inputs = [.. site.Node.Inputs.Take(2)];
        inputs[1 - site.WeightIndex] = b.Cast(dropped, site.Node.Inputs[1 - site.WeightIndex]!.ElementType);
        Node again = b.Emit(site.Node.OpType, site.Node.Domain, inputs, 1, [.. site.Node.Attributes.Select(a => (a.Key, a.Value))]);
        Value droppedProduct = b.Cast(again.Outputs[0], DataType.Float);
        Value change = b.Mul(droppedProduct, b.Sub(factors, b.Scalar(1f)));
        return b.Cast(b.Add(b.Add(product, change), b.Mul(branch, factors)), SiteBranch.ProductType(site));
    }

    /// <summary>Norms n [out] of <c>W + scaling B A</c>.</summary>
    /// <param name="changed">The sum [out, in]; an embedding's [vocabulary, dim].</param>
    /// <param name="isEmbedding">Whether the weight is an embedding's.</param>
    public static float[] Norms(Matrix changed, bool isEmbedding) => (isEmbedding ? changed.Transpose() : changed).RowNorms();

    /// <summary>First magnitudes: the norms at the start.</summary>
    public static float[] Start(LoraLayer layer, float[] a, float[] b)
    {
        Matrix change = new Matrix((int)layer.Module.OutFeatures, layer.Rank, b).Multiply(new Matrix(layer.Rank, (int)layer.Module.InFeatures, a));
        Matrix weight = FirstValues.Weight(layer.Module);
        weight.Add(layer.IsEmbedding ? change.Transpose() : change, (float)layer.Scaling);
        return Norms(weight, layer.IsEmbedding);
    }

    private static float[] SquaredNorms(LoraLayer layer) =>
        [.. Norms(FirstValues.Weight(layer.Module), layer.IsEmbedding).Select(n => n * n)];

    private static Value Factors(GraphBuilder b, LinearSite site, Value scale) => site.IsWeightLeft ? b.Unsqueeze(scale, 1) : scale;

    private static Value? OwnBias(GraphBuilder b, LinearSite site) =>
        site.BiasNode == site.Node && site.Bias is { } bias ? b.Mul(b.Cast(bias, DataType.Float), site.BiasFactor) : null;

    private static bool IsReadOutByIn(LinearSite site) => site.IsWeightLeft
        ? site.Node.GetInt("transA", 0) == 0
        : site.Node.Is("Gemm") && site.Node.GetInt("transB", 0) != 0;
}
