using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.Evaluation;

/// <summary>Builds models of one node and computes them with the reference evaluator.</summary>
internal static class NodeRunner
{
    public const long Opset = 21;

    public static ReferenceTensor F(long[] dims, params double[] values) => ReferenceTensor.OfFloats(DataType.Float, dims, values);

    public static ReferenceTensor I(long[] dims, params long[] values) => ReferenceTensor.OfIntegers(DataType.Int64, dims, values);

    public static ReferenceTensor B(long[] dims, params bool[] values) => ReferenceTensor.OfBools(dims, values);

    /// <summary>A model whose only node reads inputs x0, x1, ... and makes outputs y0, y1, ....</summary>
    public static OnnxModel Build(
        string opType, IReadOnlyList<ReferenceTensor?> inputs, int outputs, long opset = Opset, string domain = "", params (string Name, NodeAttribute Value)[] attributes)
    {
        OnnxGraph graph = new("one_node");
        OnnxModel model = new(graph) { Opset = opset };
        if (domain.Length > 0)
        {
            model.OpsetImports[domain] = 1;
        }

        Value?[] values = [.. inputs.Select((x, i) => x is null ? null : graph.AddInput($"x{i}", x.ElementType, Shape.Of(x.Dims)))];
        Node node = graph.AddNode(opType, values, "node", domain);
        foreach ((string name, NodeAttribute value) in attributes)
        {
            node.SetAttribute(name, value);
        }

        for (int i = 0; i < outputs; i++)
        {
            graph.AddOutput(node.AddOutput($"y{i}"));
        }

        return model;
    }

    public static Dictionary<string, ReferenceTensor> Feeds(IReadOnlyList<ReferenceTensor?> inputs) =>
        inputs.Select((x, i) => (Name: $"x{i}", Tensor: x)).Where(p => p.Tensor is not null).ToDictionary(p => p.Name, p => p.Tensor!);

    /// <summary>Computes a node with one output.</summary>
    public static ReferenceTensor Run(string opType, ReferenceTensor?[] inputs, params (string Name, NodeAttribute Value)[] attributes) =>
        RunMany(opType, inputs, 1, attributes)[0];

    /// <summary>Computes a node with several outputs.</summary>
    public static ReferenceTensor[] RunMany(string opType, ReferenceTensor?[] inputs, int outputs, params (string Name, NodeAttribute Value)[] attributes)
    {
        OnnxModel model = Build(opType, inputs, outputs, Opset, "", attributes);
        IReadOnlyDictionary<string, ReferenceTensor> results = new ReferenceEvaluator(model).Run(Feeds(inputs));
        return [.. Enumerable.Range(0, outputs).Select(i => results[$"y{i}"])];
    }

    public static void AreEqual(ReferenceTensor expected, ReferenceTensor actual, double tolerance = 1e-12)
    {
        Assert.AreEqual(expected.ToString(), actual.ToString());
        if (expected.IsInteger)
        {
            CollectionAssert.AreEqual(expected.Integers, actual.Integers);
            return;
        }

        for (int i = 0; i < expected.Count; i++)
        {
            double difference = Math.Abs(expected.Floats[i] - actual.Floats[i]);
            bool same = expected.Floats[i].Equals(actual.Floats[i]) || difference <= tolerance * Math.Max(1, Math.Abs(expected.Floats[i]));
            Assert.IsTrue(same, $"Element {i}: expected {expected.Floats[i]:R}, got {actual.Floats[i]:R}.");
        }
    }
}
