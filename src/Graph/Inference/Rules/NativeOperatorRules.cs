using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>The project's own fused operators beside those of <see cref="Int8MatrixRules"/>.</summary>
internal static class NativeOperatorRules
{
    internal static void Register(OperatorRegistry registry)
    {
        Add(call => Normalization(call, statistics: 1), "RmsNorm");
        Add(call => Normalization(call, statistics: 2), "LayerNorm");
        Add(call => Like(call, 1, 2, 2), "RmsNormGrad", "LayerNormGrad");
        Add(call => Like(call, 0, 0), "SwiGluGrad");
        Add(call => Like(call, 0), "SwiGlu", "Gelu", "GeluGrad", "Rotary", "RotaryGrad");

        void Add(InferenceRule rule, params ReadOnlySpan<string> opTypes) => registry.AddTo(OperatorDomains.OrtQLoRA, rule, opTypes);
    }

    /// <summary>Output i has the shape of input <c>inputs[i]</c>.</summary>
    private static void Like(OperatorCall call, params ReadOnlySpan<int> inputs)
    {
        for (int i = 0; i < inputs.Length; i++)
        {
            call.Set(i, DataType.Float, call.ShapeOf(inputs[i]));
        }
    }

    // y like x; each row has its statistics.
    private static void Normalization(OperatorCall call, int statistics)
    {
        Shape? x = call.ShapeOf(0);
        call.Set(0, DataType.Float, x);
        for (int i = 1; i <= statistics; i++)
        {
            call.Set(i, DataType.Float, x is { Rank: > 0 } ? x.With(x.Rank - 1, 1) : null);
        }
    }
}
