using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Normalizations, softmax included.</summary>
internal static class NormalizationRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(Softmax, "Softmax", "LogSoftmax", "Hardmax");
        registry.Add(
            ElementwiseRules.LikeFirstInput,
            "InstanceNormalization", "GroupNormalization", "LpNormalization", "MeanVarianceNormalization", "LRN");
        registry.Add(LayerNormalization, "LayerNormalization");
        registry.Add(SimplifiedLayerNormalization, "SimplifiedLayerNormalization");
        registry.Add(RmsNormalization, "RMSNormalization");
        registry.Add(BatchNormalization, "BatchNormalization");
        registry.AddTo(OperatorDomains.Microsoft, SimplifiedLayerNormalization, "SimplifiedLayerNormalization");
    }

    private static void Softmax(OperatorCall call)
    {
        if (call.ShapeOf(0) is { Rank: > 0 } shape)
        {
            call.Axis(call.Node.GetInt("axis", call.Opset < 13 ? 1 : -1), Math.Max(shape.Rank, call.Opset < 13 ? 2 : 1));
        }

        ElementwiseRules.LikeFirstInput(call);
    }

    // Mean and inverse deviation keep the normalized axes with size 1.
    private static void LayerNormalization(OperatorCall call)
    {
        ElementwiseRules.LikeFirstInput(call);
        Shape? statistics = Statistics(call);
        call.Set(1, StashType(call), statistics);
        call.Set(2, StashType(call), statistics);
    }

    private static void SimplifiedLayerNormalization(OperatorCall call)
    {
        call.Set(0, call.TypeOf(1), call.ShapeOf(0));
        call.Set(1, StashType(call), Statistics(call));
    }

    // The output has the type of the scale.
    private static void RmsNormalization(OperatorCall call) => call.Set(0, call.TypeOf(1), call.ShapeOf(0));

    private static void BatchNormalization(OperatorCall call)
    {
        ElementwiseRules.LikeFirstInput(call);
        Shape? channels = call.ShapeOf(3) ?? call.ShapeOf(1);
        for (int output = 1; output < call.Node.Outputs.Count; output++)
        {
            call.Set(output, call.TypeOf(3), channels);
        }
    }

    private static Shape? Statistics(OperatorCall call)
    {
        if (call.ShapeOf(0) is not Shape shape)
        {
            return null;
        }

        int axis = call.Axis(call.Node.GetInt("axis", -1), shape.Rank);
        return new Shape(shape.Select((d, i) => i < axis ? d : 1));
    }

    private static DataType StashType(OperatorCall call) => (DataType)call.Node.GetInt("stash_type", (long)DataType.Float);
}
