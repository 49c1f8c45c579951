using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Rewriting;

/// <summary>
/// Lets native operators add: a sum of which a term is the result of one that takes an addend, and nobody else's, becomes that
/// operator's result. The residual stream, the gradients of a value that several layers read, and the accumulated gradients
/// of LoRA's factors then cost no operators.
/// </summary>
/// <remarks>Terms are added in the order of their producers, each of which takes the sum so far; the graph's order does not change.</remarks>
public sealed class SumFusionPass : GraphPass
{
    // Operator, its output, and the optional input that is added to it.
    private static readonly (string Operator, int Output, int Input)[] Addends =
    [
        ("LoraLinear", 0, 6),
        ("LoraLinearGrad", 0, 8),
        ("LoraLinearGrad", 1, 9),
        ("LoraLinearGrad", 2, 7),
        ("RmsNormGrad", 0, 4),
        ("LayerNormGrad", 0, 5),
    ];

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        Dictionary<Node, int> positions = new(ReferenceEqualityComparer.Instance);
        foreach (Node node in model.Graph.Nodes)
        {
            positions[node] = positions.Count;
        }

        Node[] sums = [.. model.Graph.Nodes.Where(n => n.Is("Add") && !IsTerm(n))];
        bool changed = false;
        foreach (Node sum in sums)
        {
            changed |= TryFuse(model, sum, positions);
        }

        return changed;
    }

    private static bool TryFuse(OnnxModel model, Node root, Dictionary<Node, int> positions)
    {
        Value total = root.Outputs[0];
        List<Value> terms = [];
        List<Node> inner = [];
        Collect(root, terms, inner);
        int PositionOf(Value value) => value.Producer is { } producer ? positions.GetValueOrDefault(producer, int.MaxValue) : -1;

        // One a producer, which cannot wait for itself.
        Value[] takers = [.. terms.Where(t => Fits(t, total) && AddendOf(t) is not null).DistinctBy(t => t.Producer).OrderBy(PositionOf)];
        List<Value> others = [.. terms.Except(takers)];
        if (others.Count != terms.Count - takers.Length)
        {
            return false;
        }

        Value? sum = null;
        bool fused = false;
        foreach (Value taker in takers)
        {
            Value? addend = sum ?? others.Find(o => Fits(o, total) && PositionOf(o) < PositionOf(taker));
            if (addend is not null)
            {
                others.Remove(addend);
                Give(taker, addend);
                fused = true;
            }

            sum = taker;
        }

        if (!fused)
        {
            return false;
        }

        GraphBuilder builder = new(model.Graph, model.Opset, root) { Scope = root.Name + "/" };
        Value result = others.Aggregate(sum!, (left, right) =>
        {
            Value added = builder.Add(left, right);
            added.Type = total.Type;
            return added;
        });
        string name = total.Name;
        bool isOutput = total.IsGraphOutput;
        total.ReplaceAllUsesWith(result);
        model.Graph.Remove(root);

        // The root reads the sums within it, each of them the next.
        foreach (Node node in inner)
        {
            model.Graph.Remove(node);
        }

        if (isOutput)
        {
            result.Name = name;
        }

        return true;
    }

    private static void Collect(Node sum, List<Value> terms, List<Node> inner)
    {
        foreach (Value term in sum.Inputs.OfType<Value>())
        {
            if (term.Producer is { } producer && producer.Is("Add") && IsTerm(producer))
            {
                inner.Add(producer);
                Collect(producer, terms, inner);
            }
            else
            {
                terms.Add(term);
            }
        }
    }

    /// <summary>Whether a sum is nothing but a term of another of its shape.</summary>
    private static bool IsTerm(Node sum) =>
        sum.Outputs[0] is { IsGraphOutput: false, Uses: [var use] } value && use.Node.Is("Add") && Fits(value, use.Node.Outputs[0]);

    private static bool Fits(Value term, Value total) =>
        term.ElementType == total.ElementType && term.Shape is { } shape && total.Shape is { } whole && shape.IsSameAs(whole);

    private static int? AddendOf(Value value)
    {
        if (value.IsGraphOutput || value.Uses.Count != 1 || value.Producer is not { } producer)
        {
            return null;
        }

        foreach ((string op, int output, int input) in Addends)
        {
            if (producer.Is(op, OperatorDomains.OrtQLoRA) && value.ProducerIndex == output && producer.InputOrNull(input) is null)
            {
                return input;
            }
        }

        return null;
    }

    private static void Give(Value taker, Value addend)
    {
        Node node = taker.Producer!;
        int input = AddendOf(taker)!.Value;
        while (node.Inputs.Count <= input)
        {
            node.AddInput(null);
        }

        node.SetInput(input, addend);
    }
}
