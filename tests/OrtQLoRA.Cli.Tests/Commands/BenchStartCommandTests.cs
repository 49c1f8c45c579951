using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Inspection;

namespace OrtQLoRA.Cli.Tests.Commands;

[TestClass]
public sealed class BenchStartCommandTests
{
    /// <summary>An adapter as wide as the layers holds the whole error, whatever alpha is.</summary>
    [TestMethod]
    [DataRow(null, 1)]
    [DataRow(8.0, 1)]
    [DataRow(8.0, 3)]
    public void Measure_AdapterAsWideAsTheLayers_StartsWithTheFloatLoss(double? alpha, int iterations)
    {
        using TrainingFixture fixture = new();
        TrainingOptions options = new() { Model = fixture.Model, Data = fixture.Data("data.jsonl", 6), Alpha = alpha };
        options.MethodOptions["loftq_config"] = new System.Text.Json.Nodes.JsonObject { ["loftq_iter"] = iterations };

        IReadOnlyList<StartingLossResult> results = StartingLoss.Measure(options, [4, 32]);

        Assert.HasCount(4, results);
        double cost = Math.Abs(results[1].Loss - results[0].Loss);
        Assert.IsGreaterThan(1e-4, cost);
        Assert.AreEqual(results[0].Loss, results[3].Loss, 0.01 * cost);
        Assert.AreNotEqual(results[1].Loss, results[2].Loss, 0.01 * cost);
    }

    [TestMethod]
    public void BenchStart_SmallModel_ShowsLossesByRank()
    {
        using TrainingFixture fixture = new();

        string output = CommandLine.Succeed("bench", "start", "--model", fixture.Model, "--data", fixture.Data("data.jsonl", 4), "--ranks", "2", "32");

        StringAssert.Contains(output, "eetq, loftq");
        StringAssert.Contains(CommandLine.Fail("bench", "start", "--model", fixture.Model), "--data");
        StringAssert.Contains(CommandLine.Fail("bench", "start", "--model", fixture.Model, "--data", fixture.Data("data.jsonl", 4), "--ranks", "0"), "--ranks holds 0");
    }
}
