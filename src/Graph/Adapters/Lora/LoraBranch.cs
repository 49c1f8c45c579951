using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>
/// Emits the branch <c>scaling * B(A(dropout(x)))</c> beside a product or a lookup.
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
            Value? x = site.Kind == LinearKind.Embedding ? null : Input(context, builder, site, dropout);
            Value result = x is null ? Embedding(builder, site, operands)
                : layer.IsConvolution ? Convolution(builder, site, x, operands)
                : LowRankBranch.Sum(builder, site, x, operands.A, operands.B, layer.Scaling, operands.ScaledBias);
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

    private static Value Convolution(GraphBuilder builder, LinearSite site, Value x, Operands operands)
    {
        (string, NodeAttribute)[] geometry = [.. site.Node.Attributes.Where(a => a.Key != "group").Select(a => (a.Key, a.Value))];
        Value narrow = builder.Mul(builder.Op("Conv", [x, operands.A], geometry), operands.Layer.Scaling);
        Value delta = builder.Op("Conv", operands.ScaledBias is { } bias ? [narrow, operands.B, bias] : [narrow, operands.B], ("group", operands.Layer.Groups));
        return builder.Add(site.Product, builder.Cast(delta, SiteBranch.ProductType(site)));
    }

    // y = E[id] + scaling * A[:, id]^T B^T
    private static Value Embedding(GraphBuilder builder, LinearSite site, Operands operands)
    {
        Value rows = builder.Op("Gather", [operands.ATransposed, site.Input], ("axis", 0));
        Value delta = builder.MatMul(builder.Mul(rows, operands.Layer.Scaling), operands.BTransposed);
        return builder.Add(site.Product, builder.Cast(delta, SiteBranch.ProductType(site)));
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
