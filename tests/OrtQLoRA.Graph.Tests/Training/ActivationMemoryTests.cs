using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Graph.Tests.Training;

[TestClass]
public sealed class ActivationMemoryTests
{
    [TestMethod]
    public void Peak_Chain_KeepsAValueUntilItsLastReader()
    {
        OnnxGraph graph = new("chain");
        GraphBuilder b = new(graph, 21);
        Value x = graph.AddInput("x", DataType.Float, new Shape(Dimension.Of("rows"), 8));
        Value first = b.Add(x, b.Scalar(1f));
        Value second = b.Mul(first, first);
        Value third = b.Op("Sqrt", [second]);
        Value last = b.ReduceSum(b.Add(third, first), false, 0, 1);
        graph.AddOutput(last);
        OnnxModel model = new(graph) { Opset = 21, IrVersion = 10 };

        (long bytes, int unknown) = ActivationMemory.Peak(model, new Dictionary<string, Shape> { ["x"] = Shape.Of(10, 8) });

        // While the second sum is made, the first value and the root are read and the sum is written.
        Assert.AreEqual(3 * 10 * 8 * sizeof(float), bytes);
        Assert.AreEqual(0, unknown);
    }
}
