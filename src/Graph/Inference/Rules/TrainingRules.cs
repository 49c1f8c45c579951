using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Operators of ONNX Runtime's training builds that change tensors in place and return a flag.</summary>
internal static class TrainingRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.AddTo(OperatorDomains.Microsoft, Accumulate, "InPlaceAccumulatorV2");
        registry.AddTo(OperatorDomains.Microsoft, call => call.Set(0, DataType.Bool, Shape.Of(1)), "AdamWOptimizer", "SGDOptimizerV2");
        registry.AddTo(OperatorDomains.Microsoft, call => call.Node.Outputs[0].Type ??= call.Node.InputOrNull(0)?.Type, "InplaceClipGradNorm");
    }

    // Output 1 is the buffer with the new gradient added.
    private static void Accumulate(OperatorCall call)
    {
        call.Set(0, DataType.Bool, Shape.Of(1));
        call.Set(1, call.TypeOf(0), call.ShapeOf(0));
    }
}
