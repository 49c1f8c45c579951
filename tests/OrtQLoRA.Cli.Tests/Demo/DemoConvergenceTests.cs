using System.Text.Json;
using OrtQLoRA.CustomOps;
using OrtQLoRA.TestKit;
using Fixtures = OrtQLoRA.TestKit.Fixtures;

namespace OrtQLoRA.Cli.Tests.Demo;

/// <summary>The demo's fine-tune ends where it should, whatever it rounds on the way.</summary>
[TestClass]
public sealed class DemoConvergenceTests
{
    private static readonly Lazy<double> Fp32 = new(() => FinalLoss("--compute", "fp32"));

    [TestMethod]
    [DataRow("bf16", 0.005)]
    [DataRow("int8", 0.01)]
    public void Train_FewerBits_EndsAtTheLossOfFp32(string compute, double tolerance)
    {
        if (!CustomOpLibrary.TryLoad(out _, out string? reason))
        {
            Assert.Inconclusive(reason);
        }

        double loss = FinalLoss("--compute", compute);

        Assert.AreNotEqual(Fp32.Value, loss, "Another arithmetic should give other bits.");
        Assert.AreEqual(Fp32.Value, loss, tolerance * Fp32.Value);
    }

    /// <summary>Moments of 8 bits, as a quarter of the optimizer's memory.</summary>
    [TestMethod]
    public void Train_MomentsOf8Bits_EndsAtTheLossOfAdamW()
    {
        string[] exact = ["--ops", "portable"];
        double expected = FinalLoss(exact);

        double loss = FinalLoss([.. exact, "--optimizer", "adamw-8bit"]);

        Assert.AreNotEqual(expected, loss, "Rounded moments should give other bits.");
        Assert.AreEqual(expected, loss, 0.01 * expected);
    }

    /// <summary>Loss on the entries held back, after the demo's 120 steps.</summary>
    private static double FinalLoss(params string[] flags)
    {
        string demo = Path.Combine(Fixtures.RepositoryRoot()!, "demo");
        using TemporaryFolder folder = new();
        string run = folder.File("run");
        CommandLine.Succeed([
            "train", "--model", Path.Combine(demo, "model.onnx"), "--tokenizer", Path.Combine(demo, "tokenizer.bin"),
            "--data", Path.Combine(demo, "logbook.jsonl"), "--eval-data", Path.Combine(demo, "logbook-eval.jsonl"), "--out", run,
            "--append-eos", "--quant", "eetq", "--rank", "16", "--alpha", "32", "--lr", "5e-3", "--batch", "16", "--max-steps", "120",
            "--lr-schedule", "linear", "--warmup-steps", "12", "--no-report", "--no-tensorboard", .. flags]);
        using JsonDocument evaluation = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "eval.json")));
        return evaluation.RootElement.GetProperty("loss").GetDouble();
    }
}
