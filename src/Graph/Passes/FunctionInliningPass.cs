using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes.OpsetUpgrade;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Replaces calls of model-local functions by the functions' bodies, calls inside bodies and subgraphs included, and
/// drops the functions. Attributes that a body refers to are taken from the call or from the function's defaults. A
/// function written for another version of ONNX's operators than the model is brought to one version with it.
/// </summary>
public sealed class FunctionInliningPass : GraphPass
{
    private const int MaxNodes = 4_000_000;
    private const int MaxDepth = 200;

    /// <inheritdoc/>
    /// <exception cref="GraphException">Functions call each other in a circle, or inlining them does not end in a graph of bearable size.</exception>
    /// <exception cref="UnsupportedOpException">Functions and model use different operator versions that cannot be brought together.</exception>
    public override bool Run(OnnxModel model)
    {
        if (model.Functions.Count == 0)
        {
            return false;
        }

        new Inliner(model).Run();
        model.Functions.Clear();
        return true;
    }

    private sealed class Inliner
    {
        private readonly OnnxModel _model;
        private readonly Dictionary<(string Domain, string Name, string Overload), OnnxFunction> _functions = [];
        private readonly Dictionary<OnnxFunction, long> _sizes = [];
        private readonly Stack<OnnxFunction> _open = new();
        private readonly long _opset;

        internal Inliner(OnnxModel model)
        {
            _model = model;
            foreach (OnnxFunction function in model.Functions)
            {
                _functions[(function.Domain, function.Name, function.Overload)] = function;
            }

            long[] versions = [model.Opset, .. model.Functions.Select(OpsetOf)];
            _opset = versions.All(v => v == model.Opset) ? model.Opset : Math.Max(versions.Max(), OpsetUpgrader.Target);
        }

        internal void Run()
        {
            Node[] nodes = [.. _model.Graph.AllNodes()];
            long size = SizeOf(nodes);
            if (size > MaxNodes)
            {
                throw new GraphException($"Inlining the model's functions would make more than {MaxNodes} nodes. Simplify the functions, which call each other many times over.");
            }

            OpsetUpgrader.Upgrade(nodes, _model.Opset, _opset);
            OpsetUpgrader.Declare(_model, _opset);
            foreach (OnnxFunction function in _model.Functions)
            {
                foreach ((string domain, long version) in function.OpsetImports)
                {
                    if (domain.Length > 0)
                    {
                        _model.OpsetImports[domain] = Math.Max(version, _model.OpsetImports.TryGetValue(domain, out long known) ? known : 0);
                    }
                }
            }

            InlineCalls(nodes);
        }

        private long OpsetOf(OnnxFunction function) => function.OpsetImports.TryGetValue("", out long version) ? version : _model.Opset;

        // Nodes that remain of these once all calls are inlined; found before anything is copied.
        private long SizeOf(IEnumerable<Node> nodes)
        {
            long size = 0;
            foreach (Node node in nodes)
            {
                // A body without nodes still costs something: what it passes through gets an Identity.
                size += _functions.TryGetValue((node.Domain, node.OpType, node.Overload), out OnnxFunction? function) ? Math.Max(SizeOf(function), 1) : 1;
            }

            return Math.Min(size, MaxNodes + 1L);
        }

        private long SizeOf(OnnxFunction function)
        {
            if (_sizes.TryGetValue(function, out long size))
            {
                return size;
            }

            if (_open.Contains(function) || _open.Count == MaxDepth)
            {
                string chain = string.Join(" -> ", _open.Reverse().Append(function).TakeLast(8).Select(f => $"{f.Domain}::{f.Name}"));
                throw new GraphException($"Functions call each other without end: {chain}. ONNX functions may not recur.");
            }

            _open.Push(function);
            size = SizeOf(function.Body.AllNodes());
            _open.Pop();
            return _sizes[function] = size;
        }

        private void InlineCalls(IReadOnlyList<Node> nodes)
        {
            foreach (Node node in nodes.Where(n => n.Graph is not null))
            {
                if (_functions.TryGetValue((node.Domain, node.OpType, node.Overload), out OnnxFunction? function))
                {
                    Inline(node, function);
                }
            }
        }

        private void Inline(Node call, OnnxFunction function)
        {
            OnnxGraph graph = call.OwningGraph;
            BodyCopier copier = new(call.Name.Length > 0 ? call.Name + "/" : "", attribute => Resolve(attribute, call, function));
            for (int i = 0; i < function.Body.Inputs.Count; i++)
            {
                copier.Bind(function.Body.Inputs[i], call.InputOrNull(i));
            }

            IReadOnlyList<Node> copies = copier.Copy(function.Body, graph, call);
            Node[] inner = [.. copies.SelectMany(n => n.Subgraphs.SelectMany(g => g.AllNodes()).Prepend(n))];
            foreach (Value output in inner.SelectMany(n => n.Outputs))
            {
                // What a body says of types need not hold for every caller.
                output.Type = null;
            }

            NodeReplacement.ReplaceByCopies(call, copies, [.. call.Outputs.Select((output, i) => output.IsUsed ? Made(call, function, copier, i) : null)]);
            OpsetUpgrader.Upgrade(inner, OpsetOf(function), _opset);
            InlineCalls(inner);
        }

        private static Value Made(Node call, OnnxFunction function, BodyCopier copier, int output) =>
            (output < function.Body.Outputs.Count ? copier.Map(function.Body.Outputs[output]) : null)
            ?? throw new GraphException($"{call.Describe()} uses output {output}, which function '{function.Domain}::{function.Name}' does not make.");

        private static NodeAttribute? Resolve(NodeAttribute attribute, Node call, OnnxFunction function)
        {
            if (attribute.ReferenceName is not string name)
            {
                return attribute;
            }

            return call.Attributes.TryGetValue(name, out NodeAttribute? given) ? given
                : function.OptionalAttributes.TryGetValue(name, out NodeAttribute? fallback) ? fallback
                : !function.RequiredAttributes.Contains(name) ? null
                : throw new GraphException($"{call.Describe()} lacks attribute '{name}', which function '{function.Domain}::{function.Name}' requires.");
        }
    }
}
