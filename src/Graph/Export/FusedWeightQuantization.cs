using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// Quantizes weights that lie inside fused attention: one DequantizeLinear in front of the operator, for all projections that
/// share the weight. There is no fused operator that takes EETQ's int8 itself.
/// </summary>
internal static class FusedWeightQuantization
{
    private const long FirstOpsetWithAxis = 13;

    /// <summary>Changes a model in place.</summary>
    /// <returns>What was done to each weight.</returns>
    public static IReadOnlyList<QuantizedLayer> Run(OnnxModel model)
    {
        List<QuantizedLayer> layers = [];
        LastUsed<IQuantizedWeight> last = new();
        foreach (IGrouping<Value, LinearModule> modules in LinearFinder.Find(model).Modules
            .Where(m => m is { Kind: LinearKind.Linear, Storage: WeightStorage.Dense } && m.Sites.All(s => s.IsFused && s.WeightChain.Count == 0) && m.Weight.IsConstant)
            .GroupBy(m => m.Weight))
        {
            layers.Add(Quantize(model, modules.Key, [.. modules], last));
        }

        return layers;
    }

    private static QuantizedLayer Quantize(OnnxModel model, Value weight, LinearModule[] modules, LastUsed<IQuantizedWeight> last)
    {
        WeightMatrix matrix = new(weight.Name, weight.Initializer!, isOutByIn: false);
        EetqWeight quantized = EetqInt8Format.QuantizeToPlain(matrix);
        QuantizationError error = quantized.Error;
        quantized = (EetqWeight)quantized.Streamed(() => last.Get(matrix, () => EetqInt8Format.QuantizeToPlain(matrix)));
        OnnxGraph graph = model.Graph;
        Half[] scales = quantized.Scales.ToArray();
        bool inHalf = matrix.ElementType == DataType.Float16 && model.Opset >= 19;
        Value q = graph.AddInitializer(graph.Names.Reserve(weight.Name + "_quantized"), quantized.ToTensor());
        Value scale = graph.AddInitializer(graph.Names.Reserve(weight.Name + "_scale"), inHalf ? DenseTensor.Vector(scales) : DenseTensor.Vector(Array.ConvertAll(scales, s => (float)s)));
        GraphBuilder builder = new(graph, model.Opset, graph.First);
        bool isStandard = model.Opset >= FirstOpsetWithAxis;
        Value dequantized = builder.Emit("DequantizeLinear", isStandard ? "" : OperatorDomains.Microsoft, [q, scale], 1, ("axis", 1)).Outputs[0];
        dequantized.Type ??= new OnnxType.Tensor(scale.ElementType, Shape.Of(matrix.Content.Dims));
        weight.ReplaceAllUsesWith(builder.Cast(dequantized, matrix.ElementType));
        WeightInput.RemoveUnread(weight);
        if (!isStandard)
        {
            model.OpsetImports.TryAdd(OperatorDomains.Microsoft, 1);
        }

        return new QuantizedLayer(
            string.Join(" + ", modules.Select(m => m.Path)), matrix.Name, matrix.InFeatures, matrix.OutFeatures, matrix.ByteLength, quantized.ByteLength, error);
    }
}
