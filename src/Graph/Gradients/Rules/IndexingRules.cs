using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// Rules of operators that read or write at indices. Reading at an index has the gradient of adding at it, so that an
/// element read several times gets the sum. dy is the output's gradient.
/// </summary>
internal static class IndexingRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        rules.Add("Gather", GatherGradient.Build);

        // y = x[.., indices, ..] element by element along an axis: dx = scatter_add(0, indices, dy)
        rules.Add("GatherElements", c => c.Gradients(c.Forms.ScatterElementsIntoZeros(
            c.Input(0), c.Input(1), c.OutputGradient, c.Axis(c.Node.GetInt("axis", 0), c.Input(0)))));
        rules.Add("GatherND", GatherNDGradient.Build);
        rules.Add("ScatterElements", ScatterElements);
        rules.Add("ScatterND", ScatterND);

        // y, indices = top_k(x): dx = scatter(0, indices, dy); the indices differ from each other
        rules.Add("TopK", c => c.Gradients(c.Forms.ScatterElementsIntoZeros(
            c.Input(0),
            c.RequireOutput(1, "indices", new OnnxType.Tensor(DataType.Int64, c.Output(0).Shape)),
            c.OutputGradient,
            c.Axis(c.Node.GetInt("axis", -1), c.Input(0)))));

        rules.Add("OneHot", OneHot);
    }

    // y = x with updates at indices (or added there): dx = dy with zeros there (or dy), dupdates = dy at the indices
    private static IReadOnlyList<Value?> ScatterND(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        bool adds = ScatterAdds(c);
        return c.ForEachNeeded(i => i switch
        {
            0 => adds ? c.OutputGradient : b.Op("ScatterND", [c.OutputGradient, c.Input(1), c.ZerosLike(c.Input(2))]),
            2 => b.Op("GatherND", [c.OutputGradient, c.Input(1)]),
            _ => null,
        });
    }

    private static IReadOnlyList<Value?> ScatterElements(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        bool adds = ScatterAdds(c);
        long axis = c.Node.GetInt("axis", 0);
        return c.ForEachNeeded(i => i switch
        {
            0 => adds ? c.OutputGradient : b.Op("ScatterElements", [c.OutputGradient, c.Input(1), c.ZerosLike(c.Input(2))], ("axis", axis)),
            2 => b.Op("GatherElements", [c.OutputGradient, c.Input(1)], ("axis", axis)),
            _ => null,
        });
    }

    private static bool ScatterAdds(GradientContext c) => c.Node.GetString("reduction", "none") switch
    {
        "none" => false,
        "add" => true,
        string other => throw c.Unsupported(
            $"its reduction is '{other}'", "Only 'none' and 'add' have a gradient; combine the updates with other operators before they are scattered."),
    };

    // y = values[1] where the class is indices', values[0] elsewhere: dvalues = [sum of dy elsewhere, sum of dy there]
    private static IReadOnlyList<Value?> OneHot(GradientContext c)
    {
        GraphBuilder b = c.Builder;
        Value dy = c.OutputGradient;
        Value bits = b.Constant(dy.ElementType == DataType.Double ? DenseTensor.Vector(0.0, 1.0) : DenseTensor.Vector(0f, 1f));
        Value hot = b.Op("OneHot", [c.Input(0), c.Input(1), bits], ("axis", c.Node.GetInt("axis", -1)));
        Value Sum(Value v) => b.Reshape(b.Op("ReduceSum", [v], ("keepdims", 0)), 1);
        Value there = Sum(b.Mul(dy, b.Cast(hot, dy.ElementType)));
        return c.Gradients(null, null, b.Concat(0, b.Sub(Sum(dy), there), there));
    }
}
