namespace OrtQLoRA.Graph.IR;

/// <summary>The functions of a model by what calls them; checks them as a set.</summary>
internal sealed class FunctionTable
{
    private readonly Dictionary<(string Domain, string Name, string Overload), OnnxFunction> _functions = [];

    /// <summary>Collects functions and reports those that are defined twice or call themselves.</summary>
    public FunctionTable(IEnumerable<OnnxFunction> functions, List<string> faults)
    {
        foreach (OnnxFunction function in functions)
        {
            if (!_functions.TryAdd((function.Domain, function.Name, function.Overload), function))
            {
                faults.Add($"Function '{function.Domain}::{function.Name}' is defined twice.");
            }
        }

        Dictionary<OnnxFunction, bool> isDone = [];
        foreach (OnnxFunction function in _functions.Values)
        {
            FindRecursion(function, isDone, faults);
        }
    }

    /// <summary>The function that a node calls; null if the node calls an operator.</summary>
    public OnnxFunction? Callee(Node node) => _functions.GetValueOrDefault((node.Domain, node.OpType, node.Overload));

    // Depth-first with an explicit stack: a hostile chain of calls may be long.
    private void FindRecursion(OnnxFunction start, Dictionary<OnnxFunction, bool> isDone, List<string> faults)
    {
        if (isDone.ContainsKey(start))
        {
            return;
        }

        Stack<(OnnxFunction Function, IEnumerator<OnnxFunction> Callees)> open = new();
        Enter(start);
        while (open.TryPeek(out (OnnxFunction Function, IEnumerator<OnnxFunction> Callees) top))
        {
            if (!top.Callees.MoveNext())
            {
                isDone[top.Function] = true;
                open.Pop();
            }
            else if (!isDone.TryGetValue(top.Callees.Current, out bool done))
            {
                Enter(top.Callees.Current);
            }
            else if (!done)
            {
                faults.Add($"Function '{top.Callees.Current.Domain}::{top.Callees.Current.Name}' calls itself, by way of '{top.Function.Domain}::{top.Function.Name}'. ONNX functions may not recur.");
            }
        }

        void Enter(OnnxFunction function)
        {
            isDone[function] = false;
            open.Push((function, function.Body.AllNodes().Select(Callee).OfType<OnnxFunction>().ToHashSet().GetEnumerator()));
        }
    }
}
