using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Rewriting.Rules;

/// <summary>
/// Products with a dequantized int8 weight <c>What[k, n] = q[k, n] * scale[n]</c>: <c>x * What</c> becomes
/// <c>ortqlora.MatMulInt8</c> and <c>dy * What^T</c> becomes <c>ortqlora.MatMulInt8Grad</c>, so that no dequantized weight
/// is ever made. Both read one int8 tensor, in the packer's layout or in the orientation [K, N], of which the native library
/// then keeps a packed copy.
/// </summary>
/// <remarks>
/// One rule object must see every model whose sessions are to share weights: it makes the tensor of a weight once.
/// </remarks>
public sealed class Int8ProductFusion : RewriteRule
{
    private const string Plain = "plain";

    private readonly string _compute;
    private readonly Int8WeightPacker? _packer;
    private readonly Dictionary<ITensor, DenseTensor> _stored = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<(OnnxGraph Graph, ITensor Source), Value> _values = [];

    /// <summary>Creates the rule.</summary>
    /// <param name="compute">Attribute <c>compute</c> of the emitted operators.</param>
    /// <param name="packer">How weights are laid out; null keeps them as <c>[K, N]</c>.</param>
    public Int8ProductFusion(Int8Compute compute, Int8WeightPacker? packer = null)
    {
        _packer = packer;
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
        long[] dims = [.. weight.Quantized.Initializer!.Dims];
        (long k, long n) = weight.ScaleAxis == 1 ? (dims[0], dims[1]) : (dims[1], dims[0]);
        Value q = Stored(weight, k, n);
        Value? addend = node.InputOrNull(2);
        bool isBias = !isGradient && addend is { Shape: { Rank: 1 } shape } && shape[0].Value == n && addend.ElementType == x.ElementType;
        Node product = builder.Emit(
            isGradient ? "MatMulInt8Grad" : "MatMulInt8",
            OperatorDomains.OrtQLoRA,
            isBias ? [x, q, weight.Scale, addend] : [x, q, weight.Scale],
            1,
            ("K", k),
            ("N", n),
            ("layout", _packer?.Layout ?? Plain),
            ("compute", _compute));
        foreach ((string key, string value) in node.Metadata)
        {
            product.Metadata[key] = value;
        }

        Value result = addend is null || isBias ? product.Outputs[0] : builder.Add(product.Outputs[0], addend);
        result.Type = node.Outputs[0].Type ?? result.Type;
        node.Outputs[0].ReplaceAllUsesWith(result);
    }

    /// <summary>The weight's int8 values in the orientation [K, N] or the packer's layout, once for each graph.</summary>
    private Value Stored(Int8Operand weight, long k, long n)
    {
        Value quantized = weight.Quantized;
        if (weight.ScaleAxis == 1 && _packer is null)
        {
            return quantized;
        }

        ITensor source = quantized.Initializer!;
        if (!_values.TryGetValue((quantized.Graph, source), out Value? value) || value.Initializer is null)
        {
            if (!_stored.TryGetValue(source, out DenseTensor? stored))
            {
                stored = Lay(source, isTransposed: weight.ScaleAxis == 0, k, n);
                _stored[source] = stored;
            }

            value = quantized.Graph.AddInitializer(quantized.Graph.Names.Reserve($"{quantized.Name}_{_packer?.Layout ?? Plain}"), stored);
            _values[(quantized.Graph, source)] = value;
        }

        return value;
    }

    private DenseTensor Lay(ITensor source, bool isTransposed, long k, long n)
    {
        byte[] plain = isTransposed ? new TransposedTensor(source).ToBytes() : source.ToBytes();
        if (_packer is null)
        {
            return new DenseTensor(DataType.Int8, [k, n], plain);
        }

        ReadOnlyMemory<byte> packed = _packer.Pack(plain, k, n);
        return new DenseTensor(DataType.UInt8, [packed.Length], packed);
    }
}
