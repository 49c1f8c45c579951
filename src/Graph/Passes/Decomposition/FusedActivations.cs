using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>GELU in its several forms, with a bias added before, and activations fused with what stands beside them.</summary>
internal static class FusedActivations
{
    // y = gelu(x), exact
    internal static IReadOnlyList<Value?> Gelu(DecompositionContext c) => [c.Builder.Op("Gelu", [c.Input(0)])];

    // y = gelu(x + bias), exact
    internal static IReadOnlyList<Value?> BiasGelu(DecompositionContext c) => [c.Builder.Op("Gelu", [c.Builder.Add(c.Input(0), c.Input(1))])];

    // y = gelu(x + bias) by tanh; the bias is optional
    internal static IReadOnlyList<Value?> FastGelu(DecompositionContext c) => [Tanh(c, c.AddIfGiven(c.Input(0), c.InputOrNull(1)))];

    // y = gelu(x w + bias) by tanh
    internal static IReadOnlyList<Value?> GemmFastGelu(DecompositionContext c) =>
        [Tanh(c, c.AddIfGiven(c.Standing(c.Builder.MatMul(c.Input(0), c.Input(1))), c.InputOrNull(2)))];

    // y = x * sigmoid(alpha x)
    internal static IReadOnlyList<Value?> QuickGelu(DecompositionContext c)
    {
        Value x = c.Input(0);
        return [c.Builder.Mul(x, c.Builder.Op("Sigmoid", [c.Builder.Mul(x, c.Node.GetFloat("alpha", 1.702f))]))];
    }

    // y = x0 * gelu(x1) for the two halves of x + bias
    internal static IReadOnlyList<Value?> BiasSplitGelu(DecompositionContext c)
    {
        Value x = c.Builder.Add(c.Input(0), c.Input(1));
        long half = c.KnownSize(x, x.Shape!.Rank - 1, "the number of channels") / 2;
        IReadOnlyList<Value> halves = c.Split(x, -1, half, half);
        return [c.Builder.Mul(halves[0], c.Builder.Op("Gelu", [halves[1]]))];
    }

    // y = x + bias + skip, as diffusion models have it: bias [C] over the last axis
    internal static IReadOnlyList<Value?> BiasAdd(DecompositionContext c) =>
        [c.Builder.Add(c.Builder.Add(c.Input(0), c.Input(1)), c.Input(2))];

    // y = softmax(x + bias) over the axes from 'axis' on, where the bias has ones
    internal static IReadOnlyList<Value?> BiasSoftmax(DecompositionContext c) =>
        [c.Builder.Op("Softmax", [c.Builder.Add(c.Input(0), c.Input(1))], ("axis", -1))];

    internal static string? RefuseBiasSoftmax(Node node) =>
        node.GetInt("is_inner_broadcast", 1) == 0 ? "its bias repeats along the outer axes (is_inner_broadcast=0), which only ONNX Runtime's optimizer writes; use the model before that optimization"
        : node.Inputs[0]?.Shape is { } shape && (node.GetInt("axis", 1) + shape.Rank) % shape.Rank == shape.Rank - 1 ? null
        : "softmax runs over more than the last axis; use the model before ONNX Runtime's optimization";

    private static Value Tanh(DecompositionContext c, Value x) => c.Builder.Op("Gelu", [x], ("approximate", "tanh"));
}
