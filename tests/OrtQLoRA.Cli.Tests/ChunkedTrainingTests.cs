using System.Text.Json;
using OrtQLoRA.Cli.Tests.Conformance;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests;

/// <summary>Cutting micro-batches into parts saves memory and must not change what is computed.</summary>
[TestClass]
public sealed class ChunkedTrainingTests
{
    [TestMethod]
    [DataRow("llama/loop_accum3_clip_cosine")]
    [DataRow("llama/loop_accum3_tokens")]
    public void Train_RowsOneByOne_GivesTheLossesOfWholeBatches(string name)
    {
        RecordedRun run = RecordedRun.Peft(name);

        double[] whole = Losses(run, chunkTokens: 1_000_000);
        double[] rowByRow = Losses(run, chunkTokens: 1);

        for (int step = 0; step < whole.Length; step++)
        {
            Assert.AreEqual(whole[step], rowByRow[step], 2e-5 * whole[step], $"loss of step {step + 1}");
        }
    }

    private static double[] Losses(RecordedRun run, int chunkTokens)
    {
        using TemporaryFolder folder = new();
        string data = folder.Write("train.jsonl", string.Join('\n', run.DataLines));
        CommandLine.Succeed(
        [
            "train", "--model", run.Model, "--data", data, "--out", folder.File("run"), "--no-shuffle", "--init-adapter", run.Start!,
            "--chunk-tokens", chunkTokens.ToString(System.Globalization.CultureInfo.InvariantCulture), .. run.Flags,
        ]);
        return [.. File.ReadLines(folder.File("run/metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement.GetProperty("loss").GetDouble())];
    }
}
