using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Operators with subgraphs. Their subgraphs must have been inferred before.</summary>
internal static class ControlFlowRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(If, "If");
        registry.Add(Loop, "Loop");
        registry.Add(Scan, "Scan");
    }

    /// <summary>Gives the inputs of a node's subgraphs the element types (of Scan's slices the shapes too) that the node feeds them.</summary>
    internal static void BindInputs(OperatorCall call)
    {
        if (call.Node.Domain.Length > 0 || call.Node.OpType is not ("Loop" or "Scan") || !call.HasAttribute("body"))
        {
            return;
        }

        OnnxGraph body = call.Subgraph("body");
        bool isLoop = call.Node.OpType == "Loop";
        int scanned = isLoop ? 0 : ScannedInputs(call, body);
        for (int i = 0; i < body.Inputs.Count; i++)
        {
            OnnxType? fed = isLoop && i == 0 ? new OnnxType.Tensor(DataType.Int64, null)
                : isLoop && i == 1 ? new OnnxType.Tensor(DataType.Bool, null)
                : i < body.Inputs.Count - scanned || call.ShapeOf(i) is null ? ElementOnly(call.TypeOf(i))
                : call.Node.GetInts("scan_input_axes") is null ? new OnnxType.Tensor(call.TypeOf(i), new Shape(call.ShapeOf(i)!.Skip(1)))
                : ElementOnly(call.TypeOf(i));
            body.Inputs[i].Type ??= fed;
        }
    }

    private static int ScannedInputs(OperatorCall call, OnnxGraph body) => (int)Math.Clamp(call.Node.GetInt("num_scan_inputs", 0), 0, body.Inputs.Count);

    private static OnnxType? ElementOnly(DataType type) => type == DataType.Undefined ? null : new OnnxType.Tensor(type, null);

    private static void If(OperatorCall call)
    {
        OnnxGraph[] branches = [call.Subgraph("then_branch"), call.Subgraph("else_branch")];
        foreach (OnnxGraph branch in branches)
        {
            if (branch.Outputs.Count != call.Node.Outputs.Count)
            {
                throw call.Error($"branch '{branch.Name}' has {branch.Outputs.Count} outputs, but the node has {call.Node.Outputs.Count}");
            }
        }

        OnnxGraph[] runnable = [.. branches.Where(b => !call.Context.IsUnrunnable(b))];
        if (runnable.Length == 1)
        {
            branches = [runnable[0], runnable[0]];
        }

        for (int i = 0; i < call.Node.Outputs.Count; i++)
        {
            (Value a, Value b) = (branches[0].Outputs[i], branches[1].Outputs[i]);
            if (a.Type is OnnxType.Tensor && b.Type is OnnxType.Tensor && a.ElementType != b.ElementType)
            {
                throw call.Error($"output {i} is {a.ElementType.OnnxName()} in the then branch and {b.ElementType.OnnxName()} in the else branch");
            }

            call.Set(i, a.ElementType != DataType.Undefined ? a.ElementType : b.ElementType, Common(call.Context.ShapeOf(a), call.Context.ShapeOf(b)));
        }
    }

    // Carried values may change shape from turn to turn, so only what start and body agree on is certain.
    private static void Loop(OperatorCall call)
    {
        OnnxGraph body = call.Subgraph("body");
        int carried = body.Inputs.Count - 2;
        for (int i = 0; i < call.Node.Outputs.Count && i + 1 < body.Outputs.Count; i++)
        {
            Value made = body.Outputs[i + 1];
            call.Set(i, made.ElementType, i < carried ? Common(call.ShapeOf(i + 2), call.Context.ShapeOf(made)) : Stacked(made));
        }
    }

    private static void Scan(OperatorCall call)
    {
        OnnxGraph body = call.Subgraph("body");
        int states = body.Inputs.Count - ScannedInputs(call, body);
        for (int i = 0; i < call.Node.Outputs.Count && i < body.Outputs.Count; i++)
        {
            Value made = body.Outputs[i];
            bool plain = call.Node.GetInts("scan_output_axes") is null;
            call.Set(i, made.ElementType, i < states ? Common(call.ShapeOf(i), call.Context.ShapeOf(made)) : plain ? Stacked(made) : null);
        }
    }

    // Symbols that belong to values of the body mean nothing outside.
    private static Shape? Stacked(Value made) =>
        made.Shape is Shape shape ? new Shape([Dimension.Unknown, .. shape.Select(d => d.IsKnown ? d : Dimension.Unknown)]) : null;

    private static Shape? Common(Shape? a, Shape? b) => a is null || b is null || a.Rank != b.Rank
        ? null
        : new Shape(a.Zip(b).Select(p => p.First == p.Second ? p.First : Dimension.Unknown));
}
