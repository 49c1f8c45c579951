using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>A loss head over a model that carries an adapter: virtual tokens count for nothing, and the adapter may add terms.</summary>
public static class AdapterLoss
{
    /// <summary>Attaches the loss.</summary>
    /// <param name="model">The model with the adapter; extended in place.</param>
    /// <param name="head">The loss head.</param>
    /// <param name="output">The output that the loss looks at.</param>
    /// <param name="adapter">The adapter.</param>
    public static LossAttachment Attach(OnnxModel model, ILossHead head, Value output, InsertedAdapter adapter)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(head);
        ArgumentNullException.ThrowIfNull(adapter);
        LossAttachment attachment = head.Attach(model, output);
        int virtualTokens = adapter.Plan.VirtualTokens;
        if (virtualTokens > 0 && attachment.Target.Shape is { Rank: 2 })
        {
            PadTarget(model, attachment.Target, virtualTokens);
        }

        return adapter.Penalties.Count == 0 ? attachment : attachment with { Loss = AddPenalties(model, attachment.Loss, adapter.Penalties) };
    }

    // Labels are as long as the tokens; in front of the outputs stand the virtual ones.
    private static void PadTarget(OnnxModel model, Value target, int virtualTokens)
    {
        GraphBuilder builder = new(model.Graph, model.Opset, model.Graph.First) { Scope = "loss/virtual/" };
        Dimension[] dims = [.. target.Shape!];
        target.Type = new OnnxType.Tensor(target.ElementType, new Shape(dims[0], Dimension.Of("labels_length")));
        Use[] readers = [.. target.Uses];
        Value padded = builder.Op("Pad", [target, builder.Int64s(virtualTokens, 0), builder.Scalar(target.ElementType, CrossEntropyLoss.IgnoreIndex), builder.Int64s(1)]);
        padded.Type = new OnnxType.Tensor(target.ElementType, new Shape(dims));
        foreach (Use use in readers)
        {
            use.Node.SetInput(use.Index, padded);
        }
    }

    private static Value AddPenalties(OnnxModel model, Value loss, IReadOnlyList<Value> penalties)
    {
        GraphBuilder builder = new(model.Graph, model.Opset) { Scope = "loss/penalty/" };
        string name = loss.Name;
        loss.Name = model.Graph.Names.Reserve("task_loss");
        Value sum = builder.Op("Sum", penalties.Prepend(loss));
        sum.Name = name;
        return sum;
    }
}
