using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>Matrix products with transpositions, factors and activations fused in.</summary>
internal static class FusedProducts
{
    // y = alpha * op(a) op(b); trans swaps the last two axes, transBatch first moves axis 0 behind the other batch axes
    internal static IReadOnlyList<Value?> FusedMatMul(DecompositionContext c) => [Scaled(c, Product(c))];

    // y = activation(alpha * op(a) op(b))
    internal static IReadOnlyList<Value?> FusedMatMulActivation(DecompositionContext c) => [Activation(c, Scaled(c, Product(c)))];

    // y = activation(gemm(a, b, c))
    internal static IReadOnlyList<Value?> FusedGemm(DecompositionContext c)
    {
        return [Activation(c, c.Standing(c.Builder.Op("Gemm", c.Node.Inputs, Attributes(c, "alpha", "beta", "transA", "transB"))))];
    }

    // y = activation(conv(x, w, b) + z)
    internal static IReadOnlyList<Value?> FusedConv(DecompositionContext c)
    {
        Value conv = c.Standing(c.Builder.Op("Conv", c.Node.Inputs.Take(3), Attributes(c, "auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")));
        return [Activation(c, c.AddIfGiven(conv, c.InputOrNull(3)))];
    }

    internal static string? RefuseActivation(Node node) => NameOf(node) is "" or "Relu" or "Sigmoid" or "Tanh" or "LeakyRelu" or "HardSigmoid" or "Elu" or "Softplus" or "Selu" or "Softsign" or "Clip" or "Gelu"
        ? null
        : $"its activation '{NameOf(node)}' is not known. Use the model before ONNX Runtime's optimization";

    internal static string? RefuseTransposedBatch(Node node) =>
        (node.GetInt("transBatchA", 0) != 0 && node.Inputs[0]?.Shape is null) || (node.GetInt("transBatchB", 0) != 0 && node.Inputs[1]?.Shape is null)
            ? "the rank of an input whose batch axis is moved is not known"
            : null;

    private static (string, NodeAttribute)[] Attributes(DecompositionContext c, params string[] names) =>
        [.. names.Where(c.Node.Attributes.ContainsKey).Select(n => (n, c.Node.Attributes[n]))];

    private static string NameOf(Node node) => node.GetString("activation", "");

    private static Value Product(DecompositionContext c)
    {
        Value a = Operand(c, c.Input(0), "A");
        Value b = Operand(c, c.Input(1), "B");
        return c.Standing(c.Builder.MatMul(a, b));
    }

    private static Value Operand(DecompositionContext c, Value x, string side)
    {
        bool matrix = c.Node.GetInt("trans" + side, 0) != 0;
        bool batch = c.Node.GetInt("transBatch" + side, 0) != 0;
        if ((!matrix && !batch) || x.Shape is { Rank: < 2 })
        {
            return x;
        }

        int rank = x.Shape?.Rank ?? throw new GraphException($"{c.Node.Describe()} cannot be taken apart: the rank of '{x.Name}' is not known.");
        List<long> axes = [.. Enumerable.Range(0, rank).Select(i => (long)i)];
        if (batch && rank > 2)
        {
            axes.Insert(rank - 1, axes[0]);
            axes.RemoveAt(0);
        }

        if (matrix)
        {
            (axes[^1], axes[^2]) = (axes[^2], axes[^1]);
        }

        return c.Builder.Transpose(x, [.. axes]);
    }

    private static Value Scaled(DecompositionContext c, Value product) => c.Builder.Mul(product, c.Node.GetFloat("alpha", 1));

    private static Value Activation(DecompositionContext c, Value x)
    {
        GraphBuilder b = c.Builder;
        float Parameter(string gemmName, int index, float otherwise) =>
            c.Node.Attributes.TryGetValue("activation_params", out NodeAttribute? list) && list.AsFloats().Length > index ? list.AsFloats()[index] : c.Node.GetFloat(gemmName, otherwise);
        return NameOf(c.Node) switch
        {
            "" => x,
            "LeakyRelu" => b.Op("LeakyRelu", [x], ("alpha", Parameter("activation_alpha", 0, 0.01f))),
            "Elu" => b.Op("Elu", [x], ("alpha", Parameter("activation_alpha", 0, 1))),
            "HardSigmoid" => b.Op("HardSigmoid", [x], ("alpha", Parameter("activation_alpha", 0, 0.2f)), ("beta", Parameter("activation_beta", 1, 0.5f))),
            "Selu" => b.Op("Selu", [x], ("alpha", Parameter("activation_alpha", 0, 1.6732632f)), ("gamma", Parameter("activation_gamma", 1, 1.0507010f))),
            "Clip" => b.Op("Clip", [x, b.ScalarLike(x, Parameter("activation_alpha", 0, float.MinValue)), b.ScalarLike(x, Parameter("activation_beta", 1, float.MaxValue))]),
            string name => b.Op(name, [x]),
        };
    }
}
