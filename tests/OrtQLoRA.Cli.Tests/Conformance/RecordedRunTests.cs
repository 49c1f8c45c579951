using System.Text.Json;
using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Conformance;

/// <summary>
/// Trains through the command line as libtorch and PEFT trained, from the same start on the same batches, and
/// compares every step's loss and gradient norm and the final adapter with what they recorded.
/// </summary>
[TestClass]
public sealed class RecordedRunTests
{
    public static IEnumerable<object[]> Golden => RecordedRun.GoldenNames.Select(n => new object[] { n });

    // Dropout's masks are PyTorch's own, and of LoRA-FA there is a run without rounding to bf16.
    private static readonly string[] NotFollowed =
    [
        "llama/lora_dropout", "llama/lorafa",
    ];

    /// <summary>Every run of a method that can be followed number by number.</summary>
    public static IEnumerable<object[]> Peft => RecordedRun.PeftNames.Except(NotFollowed).Select(n => new object[] { n });

    [TestMethod]
    [DynamicData(nameof(Golden))]
    public void Train_FromLibtorchStart_FollowsLibtorch(string name) => Follow(RecordedRun.Golden(name));

    [TestMethod]
    [DynamicData(nameof(Peft))]
    public void Train_FromPeftStart_FollowsPeft(string name) => Follow(RecordedRun.Peft(name));

    /// <summary>Both ways of computing with an int8 base; the tests above take the native one where it is there.</summary>
    [TestMethod]
    [DataRow("portable", false)]
    [DataRow("auto", true)]
    public void Train_QuantizedBase_FollowsLibtorchWithEitherOperators(string ops, bool isNative)
    {
        if (isNative && !CustomOpLibrary.TryLoad(out _, out string? reason))
        {
            Assert.Inconclusive(reason);
        }

        string log = Follow(RecordedRun.Golden("aidreams_eetq_r8"), "--ops", ops, "--compute", "fp32");

        Assert.AreEqual(isNative, log.Contains("native operators", StringComparison.Ordinal), log);
    }

    /// <summary>Every golden run in every arithmetic of fewer bits, with the share of a loss that it may be off.</summary>
    public static IEnumerable<object[]> FewerBits =>
        from name in RecordedRun.GoldenNames
        from mode in new (string Compute, double Tolerance)[] { ("bf16", 0.02), ("int8", 0.05) }
        select new object[] { name, mode.Compute, mode.Tolerance };

    /// <summary>Rounding products to fewer bits changes no loss by more than its bound, from the first step to the last.</summary>
    [TestMethod]
    [DynamicData(nameof(FewerBits))]
    public void Train_FewerBits_StaysNearLibtorchsLosses(string name, string compute, double tolerance)
    {
        if (!CustomOpLibrary.TryLoad(out _, out string? reason))
        {
            Assert.Inconclusive(reason);
        }

        RecordedRun run = RecordedRun.Golden(name);
        using TemporaryFolder folder = new();

        (string output, string log) = Train(run, folder, ["--ops", "auto", "--compute", compute]);

        StringAssert.Contains(log, "native operators");
        double[] losses = Metrics(output, "loss");
        Assert.AreEqual(run.Losses.Count, losses.Length, "one metrics line a step");
        for (int step = 0; step < losses.Length; step++)
        {
            Assert.AreEqual(run.Losses[step], losses[step], tolerance * Math.Abs(run.Losses[step]), $"loss of step {step + 1}");
        }
    }

    /// <summary>Starts that look at data: the first step has the base's loss, and what was trained merges into what was evaluated.</summary>
    [TestMethod]
    [DataRow("eva", "none")]
    [DataRow("corda", "none")]
    [DataRow("corda", "eetq")]
    [DataRow("pissa_niter_4", "none")]
    [DataRow("loftq", "eetq")]
    public void Train_StartFromDataOrBase_MergesIntoWhatWasTrained(string start, string quantization)
    {
        RecordedRun run = RecordedRun.Peft("llama/lora_default");
        using TemporaryFolder folder = new();
        string data = folder.Write("train.jsonl", string.Join('\n', run.DataLines) + "\n");
        string output = folder.File("run");

        CommandLine.Succeed(
            "train", "--model", run.Model, "--data", data, "--eval-data", data, "--out", output, "--targets", "q_proj,v_proj", "--rank", "4", "--alpha", "4",
            "--init-lora-weights", start, "--quant", quantization, "--batch", run.Flags[run.Flags.ToList().IndexOf("--batch") + 1], "--max-steps", "2", "--lr", "0.001", "--no-shuffle");
        CommandLine.Succeed("export", "--run", output, "--to", "merged", "--output", folder.File("merged.onnx"));

        using JsonDocument trained = JsonDocument.Parse(File.ReadAllText(Path.Combine(output, "eval.json")));
        using JsonDocument merged = JsonDocument.Parse(CommandLine.Succeed("eval", "--model", folder.File("merged.onnx"), "--data", data, "--json"));
        double loss = trained.RootElement.GetProperty("loss").GetDouble();
        Assert.AreEqual(loss, merged.RootElement.GetProperty("loss").GetDouble(), 1e-4 * loss);
        Assert.AreEqual(run.Losses[0], Metrics(output, "loss")[0], 2e-2 * run.Losses[0]);
    }

    /// <returns>What the command told on the error stream.</returns>
    private static string Follow(RecordedRun run, params string[] flags)
    {
        using TemporaryFolder folder = new();
        (string output, string log) = Train(run, folder, flags);
        double[] losses = Metrics(output, "loss");
        double[] norms = Metrics(output, "grad_norm");
        Assert.AreEqual(run.Losses.Count, losses.Length, "one metrics line a step");
        for (int step = 0; step < losses.Length; step++)
        {
            Assert.AreEqual(run.Losses[step], losses[step], run.LossTolerance * Math.Abs(run.Losses[step]), $"loss of step {step + 1}");
            Assert.AreEqual(run.GradientNorms[step], norms[step], 1e-3 * run.GradientNorms[step], $"gradient norm of step {step + 1}");
        }

        CompareAdapters(run, Path.Combine(output, "adapter", "adapter_model.safetensors"));
        return log;
    }

    private static (string Output, string Log) Train(RecordedRun run, TemporaryFolder folder, string[] flags)
    {
        string data = folder.Write("train.jsonl", string.Join('\n', run.DataLines) + "\n");
        string output = folder.File("run");
        List<string> arguments = ["train", "--model", run.Model, "--data", data, "--out", output, "--no-shuffle", "--seed", "1", .. run.Flags, .. flags];
        if (run.Start is not null)
        {
            arguments.AddRange(["--init-adapter", run.Start]);
        }

        (int exitCode, _, string log) = CommandLine.Run([.. arguments]);
        Assert.AreEqual(0, exitCode, log);
        return (output, log);
    }

    private static double[] Metrics(string output, string key) =>
    [
        .. File.ReadLines(Path.Combine(output, "metrics.jsonl")).Select(line =>
        {
            using JsonDocument json = JsonDocument.Parse(line);
            return json.RootElement.GetProperty(key).GetDouble();
        }),
    ];

    private static void CompareAdapters(RecordedRun run, string actualFile)
    {
        using SafetensorsFile expected = SafetensorsFile.Open(run.FinalAdapter);
        using SafetensorsFile actual = SafetensorsFile.Open(actualFile);
        string[] missing = [.. expected.Tensors.Keys.Except(actual.Tensors.Keys)];
        string[] extra = [.. actual.Tensors.Keys.Except(expected.Tensors.Keys)];
        Assert.AreEqual("", string.Join(", ", missing), "tensors that the adapter lacks");
        Assert.AreEqual("", string.Join(", ", extra), "tensors that the adapter has too many");
        foreach ((string key, ITensor tensor) in expected.Tensors)
        {
            CollectionAssert.AreEqual(tensor.Dims.ToArray(), actual.Tensors[key].Dims.ToArray(), key);
            (float[] e, float[] a) = NoiseGradients.LeaveOut(key, tensor.ToFloats(), actual.Tensors[key].ToFloats());
            TensorAssert.AreClose<float>(e, a, run.FinalTolerance, key);
        }
    }
}
