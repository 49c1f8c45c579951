using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>The project's own fused operators beside those of <see cref="Int8MatrixRules"/>.</summary>
internal static class NativeOperatorRules
{
    internal static void Register(OperatorRegistry registry)
    {
        Add(call => Normalization(call, statistics: 1), "RmsNorm");
        Add(call => Normalization(call, statistics: 2), "LayerNorm");
        Add(NormalizationGrad, "RmsNormGrad", "LayerNormGrad");
        Add(call => Like(call, 0, 0), "SwiGluGrad");
        Add(Attention, "Attention");
        Add(CrossEntropy, "LinearCrossEntropy");
        Add(call => Like(call, 1, 2, 3), "AttentionGrad");
        Add(call => Like(call, 0, 2, 3), "AdamW");
        Add(call => call.Set(0, DataType.Double, Shape.Scalar), "SquaredNorm");
        Add(call => Like(call, 0), "SwiGlu", "Gelu", "GeluGrad", "Rotary", "RotaryGrad");

        void Add(InferenceRule rule, params ReadOnlySpan<string> opTypes) => registry.AddTo(OperatorDomains.OrtQLoRA, rule, opTypes);
    }

    /// <summary>Output i has the shape of input <c>inputs[i]</c> and, like all activations, the type of the first.</summary>
    private static void Like(OperatorCall call, params ReadOnlySpan<int> inputs)
    {
        for (int i = 0; i < inputs.Length; i++)
        {
            call.Set(i, call.TypeOf(0), call.ShapeOf(inputs[i]));
        }
    }

    // dx like dy; the gradients of weight and bias are float like them.
    private static void NormalizationGrad(OperatorCall call)
    {
        call.Set(0, call.TypeOf(0), call.ShapeOf(1));
        call.Set(1, DataType.Float, call.ShapeOf(2));
        call.Set(2, DataType.Float, call.ShapeOf(2));
    }

    // y like x; each row has its statistics, float whatever x is.
    private static void Normalization(OperatorCall call, int statistics)
    {
        Shape? x = call.ShapeOf(0);
        call.Set(0, call.TypeOf(0), x);
        for (int i = 1; i <= statistics; i++)
        {
            call.Set(i, DataType.Float, x is { Rank: > 0 } ? x.With(x.Rank - 1, 1) : null);
        }
    }

    // q [B, H, S, D] or [B, S, H, D]: y like q with v's size, lse [B, H, S].
    private static void Attention(OperatorCall call)
    {
        bool isSequenceFirst = call.Node.GetString("layout", "bhsd") == "bshd";
        Shape? q = call.ShapeOf(0) is { Rank: 4 } queries ? queries : null;
        call.Set(0, call.TypeOf(0), q is not null && call.ShapeOf(2) is { Rank: 4 } v ? q.With(3, v[3]) : null);
        call.Set(1, DataType.Float, q is null ? null : new Shape(q[0], q[isSequenceFirst ? 2 : 1], q[isSequenceFirst ? 1 : 2]));
    }

    private static void CrossEntropy(OperatorCall call)
    {
        call.Set(0, DataType.Float, Shape.Scalar);
        call.Set(1, call.TypeOf(0), call.ShapeOf(0));
    }
}
