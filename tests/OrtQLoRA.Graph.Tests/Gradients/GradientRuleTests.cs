using System.Reflection;
using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit;
using OrtQLoRA.TestKit.Gradients;

namespace OrtQLoRA.Graph.Tests.Gradients;

/// <summary>Checks every gradient rule over the rows of <see cref="GradientCheckTable"/>.</summary>
[TestClass]
public sealed class GradientRuleTests
{
    private const int Seed = 20240607;

    private static readonly Dictionary<string, GradientRow> Rows = GradientCheckTable.Rows.ToDictionary(r => r.Name);

    public static IEnumerable<object[]> RowNames => Rows.Keys.Select(n => new object[] { n });

    public static string DisplayName(MethodInfo method, object[] data) => $"{data[0]} ({method.Name})";

    [TestMethod]
    [DynamicData(nameof(RowNames), DynamicDataDisplayName = nameof(DisplayName))]
    public void Rule_StaticShapes_AgreesWithCentralDifference(string name) => CheckInDouble(Rows[name], staticShapes: true);

    [TestMethod]
    [DynamicData(nameof(RowNames), DynamicDataDisplayName = nameof(DisplayName))]
    public void Rule_UnknownDimensions_AgreesWithCentralDifference(string name)
    {
        if (!Rows[name].NeedsStaticShapes)
        {
            CheckInDouble(Rows[name], staticShapes: false);
        }
    }

    [TestMethod]
    [DynamicData(nameof(RowNames), DynamicDataDisplayName = nameof(DisplayName))]
    public void Rule_InFloatOnOnnxRuntime_AgreesWithReferenceEvaluator(string name)
    {
        GradientRow row = Rows[name];
        if (row.NotOnOrt is not null)
        {
            return;
        }

        long[] opsets = [row.Opset, .. row.Opset == 21 ? row.OtherOpsets : []];
        foreach ((long opset, bool staticShapes) in opsets.SelectMany(o => new[] { (o, true), (o, false) }))
        {
            if (!staticShapes && row.NeedsStaticShapes)
            {
                continue;
            }

            GradientRowModel built = GradientRowModel.Build(row with { Opset = opset }, DataType.Float, staticShapes, Seed);
            IReadOnlyDictionary<string, ReferenceTensor> expected = GradientChecker.Check(
                built.Model, built.Feeds, built.Differentiated, Seed, 1e-5, built.UnusedOutputs);
            OnnxGraph graph = built.Model.Graph;
            foreach (Value output in graph.Outputs.ToArray())
            {
                graph.RemoveOutput(output);
            }

            foreach (string differentiated in built.Differentiated)
            {
                graph.AddOutput(graph.GetValue(differentiated + "_grad"));
            }

            Dictionary<string, ITensor> feeds = built.Feeds.Where(f => graph.GetValue(f.Key).IsGraphInput).ToDictionary(f => f.Key, f => f.Value.ToTensor());
            IReadOnlyDictionary<string, ITensor> actual = OrtRunner.Run(built.Model, feeds);
            foreach (string differentiated in built.Differentiated)
            {
                float[] reference = [.. expected[differentiated].Floats.Select(v => (float)v)];
                double error = Distance(reference, actual[differentiated + "_grad"].ToFloats());
                Assert.IsTrue(error < 2e-5, $"gradient of '{differentiated}' ({(staticShapes ? "static" : "unknown")} shapes, opset {opset}): relative L2 {error:E2}, seed {Seed}");
            }
        }
    }

    [TestMethod]
    public void Registry_EveryRule_HasARowInTheTable()
    {
        HashSet<(string, string)> checkedOps = [.. GradientCheckTable.Rows.Select(r => (r.Domain, r.OpType))];
        (string, string)[] missing = [.. GradientRuleRegistry.CreateDefault().Operators.Where(o => !checkedOps.Contains(o))];
        Assert.IsEmpty(missing, $"rules without a row in {nameof(GradientCheckTable)}: {string.Join(", ", missing)}");
    }

    private static void CheckInDouble(GradientRow row, bool staticShapes)
    {
        GradientRowModel built = GradientRowModel.Build(row, DataType.Double, staticShapes, Seed);
        GradientChecker.Check(built.Model, built.Feeds, built.Differentiated, Seed, 1e-7, built.UnusedOutputs);
    }

    // Relative to the larger of the norm and 1e-3, so that a gradient of zeros may carry rounding.
    private static double Distance(float[] expected, float[] actual)
    {
        Assert.AreEqual(expected.Length, actual.Length);
        double difference = Math.Sqrt(expected.Zip(actual, (e, a) => ((double)e - a) * ((double)e - a)).Sum());
        return difference / Math.Max(1e-3, Math.Sqrt(expected.Sum(e => (double)e * e)));
    }
}
