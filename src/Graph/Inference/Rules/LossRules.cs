using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Losses over class scores.</summary>
internal static class LossRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(Loss, "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss");
    }

    private static void Loss(OperatorCall call)
    {
        bool reduced = call.Node.GetString("reduction", "mean") != "none";
        call.RequireType(1, DataType.Int64, DataType.Int32);
        call.Set(0, call.TypeOf(0), reduced ? Shape.Scalar : call.ShapeOf(1));
        call.Set(1, call.TypeOf(0), call.ShapeOf(0));
    }
}
