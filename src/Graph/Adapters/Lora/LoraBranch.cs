using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>
/// Emits the branch <c>scaling * B(A(dropout(x)))</c> beside a product. It computes in fp32 whatever the base computes in.
/// The scaling is applied where the tensor is narrowest, behind A. The sum joins the product before its bias is added, so
/// that runtimes go on fusing bias and activation.
/// </summary>
internal static class LoraBranch
{
    /// <summary>Puts the layer on every site of its module.</summary>
    public static void Insert(AdapterInsertionContext context, LoraLayer layer, double dropout)
    {
        string scope = layer.Module.Path + "/lora/";
        Operands operands = new(context, layer, scope);
        Value? dora = layer.Magnitude is null ? null : DoraScale.Emit(context, layer, scope);
        foreach (LinearSite site in layer.Module.Sites)
        {
            GraphBuilder builder = context.Behind(site, scope);
            DataType type = SiteBranch.ProductType(site);
            Value? x = site.Kind == LinearKind.Embedding ? null : Input(context, builder, site, dropout);
            Value result = x is null ? Embedding(builder, site, operands, type)
                : site.IsWeightLeft ? WeightLeft(builder, site, operands, x, type)
                : Linear(builder, site, operands, x, type);
            if (dora is not null)
            {
                bool isDropped = x is not null && context.IsTraining && dropout > 0;
                result = isDropped ? DoraScale.ApplyBesideDropout(builder, site, result, dora, x!) : DoraScale.Apply(builder, site, result, dora);
            }

            AdapterInsertionContext.Redirect(site.Product, result);
        }
    }

    private static Value Input(AdapterInsertionContext context, GraphBuilder builder, LinearSite site, double dropout) =>
        context.Dropout(builder, builder.Cast(site.Input, DataType.Float), dropout, $"{site.ModulePath}/dropout/{site.Node.Name}");

    private static Value Linear(GraphBuilder builder, LinearSite site, Operands operands, Value x, DataType type)
    {
        LoraLayer layer = operands.Layer;
        Value narrow = builder.Op("Gemm", [Rows(builder, x), operands.A], ("transB", 1), ("alpha", (float)layer.Scaling));
        if (layer.Bias is null && type == DataType.Float)
        {
            // The second Gemm adds the product as well.
            Value sum = builder.Op("Gemm", [narrow, operands.B, Rows(builder, site.Product)], ("transB", 1));
            return LikeProduct(builder, site, sum);
        }

        Value delta = builder.Op("Gemm", [narrow, operands.B, operands.ScaledBias], ("transB", 1));
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
    private static Value WeightLeft(GraphBuilder builder, LinearSite site, Operands operands, Value x, DataType type)
    {
        Value hidden = site.Node.Is("Gemm")
            ? builder.Op("Gemm", [operands.A, x], ("transB", site.Node.GetInt("transB", 0)))
            : builder.MatMul(operands.A, x);
        Value delta = builder.MatMul(operands.B, builder.Mul(hidden, operands.Layer.Scaling));
        if (operands.ScaledBias is { } bias)
        {
            delta = builder.Add(delta, builder.Unsqueeze(bias, 1));
        }

        return builder.Add(site.Product, builder.Cast(delta, type));
    }

    // y = E[id] + scaling * A[:, id]^T B^T
    private static Value Embedding(GraphBuilder builder, LinearSite site, Operands operands, DataType type)
    {
        Value rows = builder.Op("Gather", [operands.ATransposed, site.Input], ("axis", 0));
        Value delta = builder.MatMul(builder.Mul(rows, operands.Layer.Scaling), operands.BTransposed);
        return builder.Add(site.Product, builder.Cast(delta, type));
    }

    /// <summary>The layer's parameters in the forms that the sites read; each form is emitted once, when first asked for.</summary>
    private sealed class Operands
    {
        private readonly AdapterInsertionContext _context;
        private readonly string _scope;
        private Value? _aTransposed;
        private Value? _bTransposed;
        private Value? _scaledBias;

        public Operands(AdapterInsertionContext context, LoraLayer layer, string scope)
        {
            _context = context;
            Layer = layer;
            _scope = scope;
        }

        public LoraLayer Layer { get; }

        public Value A => _context.Input(Layer.A);

        public Value B => _context.Input(Layer.B);

        public Value ATransposed => _aTransposed ??= _context.AtStart(_scope).Transpose(A, 1, 0);

        public Value BTransposed => _bTransposed ??= _context.AtStart(_scope).Transpose(B, 1, 0);

        public Value? ScaledBias => Layer.Bias is null ? null : _scaledBias ??= _context.AtStart(_scope).Mul(_context.Input(Layer.Bias), Layer.Scaling);
    }
}
