using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules.Native;

/// <summary>Normalizations, activations, rotary embedding and attention: one gradient operator each (docs/native-ops.md has the formulas).</summary>
internal static class ActivationGradients
{
    public static void Register(GradientRuleRegistry rules)
    {
        Add("RmsNorm", c =>
        {
            Node g = c.EmitNative("RmsNormGrad", [c.OutputGradient, c.Input(0), c.Input(1), c.Output(1)], c.NeedsGradient(1) ? 2 : 1);
            return c.Gradients(g.Outputs[0], g.OutputOrNull(1));
        });
        Add("LayerNorm", c =>
        {
            int outputs = c.Node.Inputs.Count > 2 && c.NeedsGradient(2) ? 3 : c.NeedsGradient(1) ? 2 : 1;
            Node g = c.EmitNative("LayerNormGrad", [c.OutputGradient, c.Input(0), c.Input(1), c.Output(1), c.Output(2)], outputs);
            return c.Gradients(g.Outputs[0], g.OutputOrNull(1), g.OutputOrNull(2));
        });
        Add("SwiGlu", c =>
        {
            Node g = c.EmitNative("SwiGluGrad", [c.OutputGradient, c.Input(0), c.Input(1)], 2);
            return c.Gradients(g.Outputs[0], g.Outputs[1]);
        });
        Add("Gelu", c => c.Gradients(c.EmitNative("GeluGrad", [c.OutputGradient, c.Input(0)], 1).Outputs[0]));
        Add("Rotary", c => c.NeedsGradient(1) || c.NeedsGradient(2)
            ? throw c.Unsupported("cos or sin depends on what is trained", "Train with --ops portable.")
            : c.Gradients(c.EmitNative("RotaryGrad", [c.OutputGradient, c.Input(1), c.Input(2)], 1).Outputs[0]));

        Add("Attention", c =>
        {
            if (c.Node.Inputs.Count > 3 && c.NeedsGradient(3))
            {
                throw c.Unsupported("the mask depends on what is trained", "Train with --ops portable.");
            }

            Value?[] inputs = [c.OutputGradient, c.Input(0), c.Input(1), c.Input(2), c.Output(0), c.Output(1), c.Node.InputOrNull(3)];
            Node g = c.EmitNative("AttentionGrad", inputs[6] is null ? inputs[..6] : inputs, 3);
            return c.Gradients(g.Outputs[0], g.Outputs[1], g.Outputs[2]);
        });

        void Add(string opType, GradientRule rule) => rules.Add(opType, rule, OperatorDomains.OrtQLoRA);
    }
}
