using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Infers the type of every value, subgraphs included, with symbolic dimensions: two dimensions with one symbol are
/// equal at run time.
/// </summary>
/// <remarks>
/// Graph inputs keep their declared types; their symbols are brought into canonical form and dimensions without a
/// name get one. What exporters wrote about inner values and outputs gives way to what follows from the operators,
/// and stays only where nothing follows, as behind an operator without a rule. Calls of model-local functions are
/// such operators: inline them first.
/// </remarks>
public sealed class ShapeInferencePass : GraphPass
{
    /// <inheritdoc/>
    /// <exception cref="GraphException">A node cannot run on the types of its inputs.</exception>
    public override bool Run(OnnxModel model)
    {
        bool changed = InputSymbols.Canonicalise(model.Graph);
        InferenceContext context = new(model.OpsetImports);
        Dictionary<Value, OnnxType?> before = [];
        InferNodes(model.Graph, context, before);
        foreach ((Value value, OnnxType? declared) in before)
        {
            // Equalities found further down the graph simplify what was inferred above.
            context.Simplify(value);
            changed |= !Equals(value.Type, declared);
        }

        return changed;
    }

    private static void InferNodes(OnnxGraph graph, InferenceContext context, Dictionary<Value, OnnxType?> before)
    {
        foreach (Node node in graph.Nodes)
        {
            foreach (Value output in node.Outputs)
            {
                before[output] = output.Type;
            }

            NodeInference.BindSubgraphInputs(node, context);
            foreach (OnnxGraph subgraph in node.Subgraphs)
            {
                InferSubgraph(node, subgraph, context, before);
            }

            NodeInference.Infer(node, context);
            context.FollowContent(node);
        }
    }

    // Exporters write If(size == 1) around a Squeeze whose axis may be known to have another size: a branch that
    // cannot run is none that is taken, so the other one decides.
    private static void InferSubgraph(Node node, OnnxGraph subgraph, InferenceContext context, Dictionary<Value, OnnxType?> before)
    {
        try
        {
            InferNodes(subgraph, context, before);
        }
        catch (GraphException) when (node.Is("If"))
        {
            context.MarkUnrunnable(subgraph);
            if (node.Subgraphs.All(context.IsUnrunnable))
            {
                throw;
            }
        }
    }
}
