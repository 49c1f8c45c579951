using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization.Eetq;

namespace OrtQLoRA.Graph.Quantization;

/// <summary>
/// Replaces products with a float weight by operators that multiply by int8 weights themselves. The weight's initializers are
/// shared by all sites of a module.
/// </summary>
internal sealed class Int8ProductEmitter
{
    // ONNX Runtime's kernels know powers of two from 16 to 256. All blocks of an output feature repeat its one scale.
    private const int BlockSize = 128;

    // Products in full precision: at the default level the runtime may round activations to int8.
    private const long FullPrecision = 1;

    private readonly OnnxModel _model;
    private readonly QuantizedForm _form;
    private readonly EetqWeight _weight;
    private readonly DataType _type;
    private readonly Value _values;
    private readonly Value _scales;

    /// <param name="model">The model being changed.</param>
    /// <param name="form">Which operator to use; not <see cref="QuantizedForm.Qdq"/>.</param>
    /// <param name="weight">The weight.</param>
    /// <param name="stem">Name of the original initializer.</param>
    /// <param name="type">Element type of the activations.</param>
    public Int8ProductEmitter(OnnxModel model, QuantizedForm form, EetqWeight weight, string stem, DataType type)
    {
        _model = model;
        _form = form;
        _weight = weight;
        _type = type;
        OnnxGraph graph = model.Graph;
        _values = graph.AddInitializer(graph.Names.Reserve(stem + "_quantized"), form == QuantizedForm.MatMulNBits ? weight.ToBlocks(BlockSize) : weight.ToTensor());
        _scales = graph.AddInitializer(graph.Names.Reserve(stem + "_scale"), form == QuantizedForm.MatMulNBits ? BlockScales() : Scales(weight.Scales));
    }

    /// <summary>Why a site cannot take the form; null if it can.</summary>
    public static string? Misfit(LinearSite site, QuantizedForm form, DataType type) =>
        form == QuantizedForm.Qdq ? null
        : site.IsWeightLeft ? "the weight is the left operand"
        : type is not (DataType.Float or DataType.Float16) ? $"it computes in {type.OnnxName()}, not float or float16"
        : null;

    /// <summary>Replaces the site's product; its result and its bias keep their names.</summary>
    public void Replace(LinearSite site)
    {
        Node node = site.Node;
        Value present = node.Inputs[site.WeightIndex]!;
        GraphBuilder builder = new(node.Graph!, _model.Opset, node) { Scope = node.Name + "/" };
        Node product = _form == QuantizedForm.MatMulNBits
            ? builder.Emit(
                "MatMulNBits", OperatorDomains.Microsoft, [site.Input, _values, _scales], 1,
                ("K", (long)_weight.InFeatures), ("N", (long)_weight.OutFeatures), ("bits", 8), ("block_size", BlockSize), ("accuracy_level", FullPrecision))
            : builder.Emit(
                "MatMulInt8", OperatorDomains.OrtQLoRA, [site.Input, _values, _scales], 1,
                ("K", (long)_weight.InFeatures), ("N", (long)_weight.OutFeatures), ("layout", "plain"), ("compute", "auto"));
        foreach ((string key, string value) in node.Metadata)
        {
            product.Metadata[key] = value;
        }

        Value result = product.Outputs[0];
        result.Type ??= node.Outputs[0].Type ?? new OnnxType.Tensor(_type, null);
        if (node.Is("Gemm"))
        {
            result = builder.Mul(result, node.GetFloat("alpha", 1));
            if (node.InputOrNull(2) is { } addend)
            {
                result = builder.Add(result, builder.Mul(addend, node.GetFloat("beta", 1)));
            }
        }

        TakeOver(node, result);
        WeightInput.RemoveUnread(present);
    }

    private static void TakeOver(Node node, Value result)
    {
        Value replaced = node.Outputs[0];
        string name = replaced.Name;
        string nodeName = node.Name;
        result.Type = replaced.Type ?? result.Type;
        result.HasValueInfo = replaced.HasValueInfo;
        replaced.ReplaceAllUsesWith(result);
        node.Graph!.Remove(node);
        result.Name = name;
        result.Producer!.Name = nodeName;
    }

    private DenseTensor BlockScales()
    {
        int blocks = (_weight.InFeatures + BlockSize - 1) / BlockSize;
        Half[] repeated = new Half[_weight.OutFeatures * blocks];
        for (int n = 0; n < _weight.OutFeatures; n++)
        {
            repeated.AsSpan(n * blocks, blocks).Fill(_weight.Scales[n]);
        }

        return Scales(repeated, _type);
    }

    // The native operator takes fp32 scales whatever the activations are.
    private static DenseTensor Scales(ReadOnlySpan<Half> scales, DataType type = DataType.Float)
    {
        if (type == DataType.Float16)
        {
            return DenseTensor.Of([scales.Length], scales);
        }

        float[] widened = new float[scales.Length];
        System.Numerics.Tensors.TensorPrimitives.ConvertToSingle(scales, widened);
        return DenseTensor.Vector(widened);
    }
}
