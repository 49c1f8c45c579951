using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// Products with a dequantized int8 weight <c>What[k, n] = q[k, n] * scale[n]</c>: <c>x * What</c> becomes
/// <c>ortqlora.MatMulInt8</c> and <c>dy * What^T</c> becomes <c>ortqlora.MatMulInt8Grad</c>, so that no dequantized weight
/// is ever made. Both read one int8 tensor in the orientation [K, N], of which the native library keeps one packed copy.
/// </summary>
/// <remarks>
/// One rule object must see every model whose sessions are to share weights: it makes the [K, N] tensor of a weight once.
/// </remarks>
public sealed class Int8ProductFusion : RewriteRule
{
    private readonly string _compute;
    private readonly Dictionary<ITensor, DenseTensor> _transposed = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<(OnnxGraph Graph, ITensor Source), Value> _values = [];

    /// <summary>Creates the rule.</summary>
    /// <param name="compute">Attribute <c>compute</c> of the emitted operators.</param>
    public Int8ProductFusion(Int8Compute compute)
    {
        _compute = compute.ToString().ToLowerInvariant();
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> NativeOperators => ["MatMulInt8", "MatMulInt8Grad"];

    /// <inheritdoc/>
    public override RewriteResult TryRewrite(Node node, long opset)
    {
        bool isGemm = node.Is("Gemm");
        if ((!isGemm && !node.Is("MatMul")) || node.InputOrNull(0) is not { } x || node.InputOrNull(1) is not { } operand)
        {
            return RewriteResult.NoMatch;
        }

        if (Int8Operand.Find(operand) is not { } weight)
        {
            return RewriteResult.NoMatch;
        }

        if (weight.Misfit is { } misfit)
        {
            return RewriteResult.Failed(misfit, operand);
        }

        if (x.ElementType is not (DataType.Float or DataType.Float16 or DataType.BFloat16))
        {
            return RewriteResult.Failed($"the other operand is {x.ElementType.OnnxName()}, not float, float16 or bfloat16", x);
        }

        if (node.Outputs[0].IsGraphOutput)
        {
            return RewriteResult.Failed("the result is a graph output, whose name must stay", node.Outputs[0]);
        }

        if (isGemm && (node.GetInt("transA", 0) != 0 || node.GetFloat("alpha", 1) != 1 || (node.InputOrNull(2) is not null && node.GetFloat("beta", 1) != 1)))
        {
            return RewriteResult.Failed("Gemm transposes or scales its operands", x);
        }

        bool isTransposed = weight.IsTransposed ^ (isGemm && node.GetInt("transB", 0) != 0);
        Replace(node, x, weight, isGradient: isTransposed == (weight.ScaleAxis == 1), opset);
        return RewriteResult.Applied;
    }

    private void Replace(Node node, Value x, Int8Operand weight, bool isGradient, long opset)
    {
        GraphBuilder builder = new(node.OwningGraph, opset, node) { Scope = node.Name + "/" };
        Value q = Plain(weight);
        long k = q.Initializer!.Dims[0];
        long n = q.Initializer.Dims[1];
        Value? addend = node.InputOrNull(2);
        bool isBias = !isGradient && addend is { Shape: { Rank: 1 } shape } && shape[0].Value == n && addend.ElementType == x.ElementType;
        Node product = builder.Emit(
            isGradient ? "MatMulInt8Grad" : "MatMulInt8",
            OperatorDomains.OrtQLoRA,
            isBias ? [x, q, weight.Scale, addend] : [x, q, weight.Scale],
            1,
            ("K", k),
            ("N", n),
            ("layout", "plain"),
            ("compute", _compute));
        foreach ((string key, string value) in node.Metadata)
        {
            product.Metadata[key] = value;
        }

        Value result = addend is null || isBias ? product.Outputs[0] : builder.Add(product.Outputs[0], addend);
        result.Type = node.Outputs[0].Type ?? result.Type;
        node.Outputs[0].ReplaceAllUsesWith(result);
    }

    /// <summary>The weight's int8 values in the orientation [K, N], once for each graph.</summary>
    private Value Plain(Int8Operand weight)
    {
        Value stored = weight.Quantized;
        if (weight.ScaleAxis == 1)
        {
            return stored;
        }

        ITensor source = stored.Initializer!;
        if (!_values.TryGetValue((stored.Graph, source), out Value? value) || value.Initializer is null)
        {
            if (!_transposed.TryGetValue(source, out DenseTensor? transposed))
            {
                transposed = new DenseTensor(DataType.Int8, [source.Dims[1], source.Dims[0]], new TransposedTensor(source).ToBytes());
                _transposed[source] = transposed;
            }

            value = stored.Graph.AddInitializer(stored.Graph.Names.Reserve(stored.Name + "_plain"), transposed);
            _values[(stored.Graph, source)] = value;
        }

        return value;
    }
}
