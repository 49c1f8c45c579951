namespace OrtQLoRA.Graph.IR;

/// <summary>
/// Checks what every model must fulfil: each name assigned once, nodes in execution order, no name dangling, types
/// given where ONNX wants them and in agreement where they are known, an operator set imported for each domain.
/// </summary>
public static class GraphVerifier
{
    private const int MaxShown = 20;

    /// <summary>Checks a model.</summary>
    /// <exception cref="GraphException">The model breaks rules; the message lists the faults.</exception>
    public static void Verify(OnnxModel model)
    {
        IReadOnlyList<string> faults = FindFaults(model);
        if (faults.Count > 0)
        {
            string more = faults.Count > MaxShown ? $"\n  and {faults.Count - MaxShown} more" : "";
            throw new GraphException(faults.Count == 1
                ? $"The model breaks a rule of ONNX: {faults[0]}"
                : $"The model breaks rules of ONNX in {faults.Count} places:{string.Concat(faults.Take(MaxShown).Select(f => "\n  - " + f))}{more}");
        }
    }

    /// <summary>Every fault of a model, in graph order; empty if it has none.</summary>
    public static IReadOnlyList<string> FindFaults(OnnxModel model)
    {
        List<string> faults = [];
        FunctionTable functions = new(model.Functions, faults);
        new ScopeVerifier(functions, model.OpsetImports, "the model", isFunction: false, faults).VerifyGraph(model.Graph);
        VerifyInterface(model.Graph, faults);
        foreach (OnnxFunction function in model.Functions)
        {
            string owner = $"function '{function.Domain}::{function.Name}'";
            new ScopeVerifier(functions, function.OpsetImports, owner, isFunction: true, faults).VerifyGraph(function.Body);
        }

        return faults;
    }

    private static void VerifyInterface(OnnxGraph graph, List<string> faults)
    {
        foreach (Value input in graph.Inputs)
        {
            if (input.Type is null or OnnxType.Tensor { ElementType: DataType.Undefined })
            {
                faults.Add($"Graph input '{input.Name}' has no {(input.Type is null ? "type" : "element type")}. Give it one; a caller cannot know what to feed.");
            }
        }
    }
}
