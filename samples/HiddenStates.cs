using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Samples;

/// <summary>Takes the head off a decoder.</summary>
internal static class HiddenStates
{
    /// <summary>Makes what the head reads, [batch, sequence, hidden], the model's only output.</summary>
    internal static Value Expose(OnnxModel model)
    {
        new ShapeInferencePass().Run(model);
        OnnxGraph graph = model.Graph;
        Value logits = graph.Outputs.First(o => o.Name == "logits");
        Value hidden = logits.Producer!.Inputs[0]!;
        graph.RemoveOutput(logits);
        hidden.Name = "last_hidden_state";
        graph.AddOutput(hidden);
        new DeadNodeEliminationPass().Run(model);
        return hidden;
    }
}
