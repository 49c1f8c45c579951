using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Training;

[TestClass]
public sealed class PassRandomTests
{
    private const int Rows = 64;
    private const int Columns = 256;

    [TestMethod]
    [DataRow(0.1)]
    [DataRow(0.5)]
    public void Integers_AnyThreshold_FallBelowItAsOftenAsTheyShould(double probability)
    {
        double below = Draw(seed: 1, pass: 5).Count(n => n < probability * PassRandom.Modulus) / (double)(Rows * Columns);

        Assert.AreEqual(probability, below, 4 * Math.Sqrt(probability * (1 - probability) / (Rows * Columns)));
    }

    [TestMethod]
    public void Integers_NeighboursAndPasses_AreNotCorrelated()
    {
        double[] now = [.. Draw(1, 5).Select(Centred)];
        double[] later = [.. Draw(1, 6).Select(Centred)];
        double[] other = [.. Draw(2, 5).Select(Centred)];

        // The sum of n products of independent numbers of variance 1/12 has a standard deviation of sqrt(n)/12.
        double bound = 4.5 * Math.Sqrt(now.Length) / 12;
        Assert.AreEqual(0, now.Zip(now.Skip(1), (a, b) => a * b).Sum(), bound, "columns");
        Assert.AreEqual(0, now.Zip(now.Skip(Columns), (a, b) => a * b).Sum(), bound, "rows");
        Assert.AreEqual(0, now.Zip(later, (a, b) => a * b).Sum(), bound, "passes");
        Assert.AreEqual(0, now.Zip(other, (a, b) => a * b).Sum(), bound, "seeds");
    }

    [TestMethod]
    public void Integers_SamePass_AreTheSameOnTheReference()
    {
        long[] numbers = Draw(1, 5);

        Assert.IsTrue(numbers.All(n => n is >= 0 and < PassRandom.Modulus));
        CollectionAssert.AreEqual(numbers, Draw(1, 5));
        CollectionAssert.AreNotEqual(numbers, Draw(1, 6));
    }

    private static double Centred(long number) => (number / (double)PassRandom.Modulus) - 0.5;

    private static long[] Draw(int seed, long pass)
    {
        OnnxGraph graph = new("random");
        GraphBuilder builder = new(graph, 21);
        Value like = graph.AddInput("like", DataType.Float, new Shape(Dimension.Of("batch"), Dimension.Of("rows"), Dimension.Of("columns")));
        Value numbers = PassRandom.Integers(builder, like, seed, "test");
        numbers.Name = "numbers";
        graph.AddOutput(numbers);
        OnnxModel model = new(graph) { Opset = 21, IrVersion = 10 };
        return OrtRunner.Run(model, new Dictionary<string, ITensor>
        {
            ["like"] = DenseTensor.Of([2, Rows / 2, Columns], new float[Rows * Columns]),
            [ArtifactNames.Pass] = DenseTensor.Scalar(pass),
        })["numbers"].ToInt64s();
    }
}
