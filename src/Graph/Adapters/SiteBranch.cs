using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>
/// What adapter branches do at one site, whatever its layout: read the input, change it, add to the product, change the
/// result. Branches see fp32 values with the features along the last axis; products <c>W x</c> are turned on the way.
/// </summary>
internal sealed class SiteBranch
{
    private readonly LinearSite _site;

    public SiteBranch(AdapterInsertionContext context, LinearSite site, string scope)
    {
        _site = site;
        Before = context.Before(site, scope);
        Behind = context.Behind(site, scope);
    }

    /// <summary>Emits before the product.</summary>
    public GraphBuilder Before { get; }

    /// <summary>Emits behind the product.</summary>
    public GraphBuilder Behind { get; }

    private bool IsInputTurned => _site.IsWeightLeft && !(_site.Node.Is("Gemm") && _site.Node.GetInt("transB", 0) != 0);

    /// <summary>The type of the base's activations at a site.</summary>
    public static DataType ProductType(LinearSite site) =>
        site.Product.ElementType.IsFloatingPoint() ? site.Product.ElementType
        : site.Kind == LinearKind.Linear && site.Input.ElementType.IsFloatingPoint() ? site.Input.ElementType
        : site.Storage == WeightStorage.Dense && site.WeightChain.Count == 0 ? site.Content.ElementType
        : DataType.Float;

    /// <summary>The activations that the layer reads, fp32, features last.</summary>
    public Value Input(GraphBuilder builder)
    {
        Value x = builder.Cast(_site.Node.Inputs[1 - _site.WeightIndex]!, DataType.Float);
        return IsInputTurned ? Turn(builder, x) : x;
    }

    /// <summary>Makes the base layer read another input of the same shape.</summary>
    public void ReplaceInput(Value x)
    {
        Value turned = IsInputTurned ? Turn(Before, x) : x;
        DataType type = _site.Node.Inputs[1 - _site.WeightIndex]!.ElementType;
        _site.Node.SetInput(1 - _site.WeightIndex, Before.Cast(turned, type));
    }

    /// <summary>Adds to the product, before the bias where the bias has a node of its own.</summary>
    public void AddToProduct(Value delta)
    {
        Value turned = _site.IsWeightLeft ? Turn(Behind, delta) : delta;
        AdapterInsertionContext.Redirect(_site.Product, Behind.Add(_site.Product, Behind.Cast(turned, ProductType(_site))));
    }

    /// <summary>Puts a function behind the product; it sees and gives fp32 with the features last, without the bias.</summary>
    public void MapProduct(Func<Value, Value> emit) => AdapterInsertionContext.Rewrite(_site.Product, product =>
    {
        Value y = Behind.Cast(product, DataType.Float);

        // A Gemm adds the bias itself: f(y - b) + b.
        Value? bias = _site.BiasNode == _site.Node && _site.Bias is { } own ? Behind.Mul(Behind.Cast(own, DataType.Float), _site.BiasFactor) : null;
        y = bias is null ? y : Behind.Sub(y, bias);
        y = _site.IsWeightLeft ? Turn(Behind, emit(Turn(Behind, y))) : emit(y);
        return Behind.Cast(bias is null ? y : Behind.Add(y, bias), ProductType(_site));
    });

    /// <summary>Multiplies the layer's result, bias included, by a vector [out].</summary>
    public void ScaleOutput(AdapterInsertionContext context, Value factors, string scope)
    {
        Node last = _site.BiasNode ?? _site.Node;
        GraphBuilder builder = new(last.Graph!, context.Model.Opset, last.Next) { Scope = scope };
        AdapterInsertionContext.Rewrite(_site.Output, output =>
        {
            Value vector = _site.IsWeightLeft ? builder.Unsqueeze(factors, 1) : factors;
            return builder.Cast(builder.Mul(builder.Cast(output, DataType.Float), vector), ProductType(_site));
        });
    }

    private static Value Turn(GraphBuilder builder, Value x)
    {
        int rank = x.Shape?.Rank ?? throw new GraphException($"The rank of '{x.Name}' is not known; run shape inference first.");
        long[] perm = [.. Enumerable.Range(0, rank).Select(a => (long)a)];
        (perm[^1], perm[^2]) = (perm[^2], perm[^1]);
        return builder.Transpose(x, perm);
    }
}
