using System.Globalization;
using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Serialization;

namespace OrtQLoRA.Cli.Tests.Commands;

[TestClass]
public sealed class InspectCommandTests
{
    /// <summary>A weight whose one huge value takes the scale of its row: int8 loses the rest of it.</summary>
    [TestMethod]
    [DataRow(false)]
    [DataRow(true)]
    public void Suggest_LayerWithAnOutlier_IsLeftOutOfTheConfigThatTrainTakes(bool withData)
    {
        using TrainingFixture fixture = new();
        string model = WithOutliers(fixture, "model.layers.1.mlp.up_proj");
        string file = fixture.Folder.File("suggested.yaml");
        string[] data = withData ? ["--data", fixture.Data("calibration.jsonl", 6)] : [];

        string output = CommandLine.Succeed(["inspect", "--model", model, "--suggest", "--rank", "4", "--max-error", "0.01", "--output", file, .. data]);

        StringAssert.Contains(output, withData ? "outputs of the layers over the data" : "of the weights");
        StringAssert.Contains(output, "1 layers are above 1.00 %");
        string yaml = File.ReadAllText(file);
        StringAssert.Contains(output.ReplaceLineEndings("\n"), yaml);
        StringAssert.Contains(yaml, "- model.layers.1.mlp.up_proj\n");
        string run = fixture.Folder.File("run");
        CommandLine.Succeed("train", "--config", file, "--model", model, "--data", fixture.Data("train.jsonl", 8), "--out", run, "--max-steps", "2");
        using JsonDocument report = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "quantization.json")));
        Assert.AreEqual(13, report.RootElement.GetProperty("Layers").GetArrayLength());
    }

    [TestMethod]
    public void Suggest_NothingToQuantize_IsRefused()
    {
        using TrainingFixture fixture = new();

        StringAssert.Contains(CommandLine.Fail("inspect", "--model", fixture.Model, "--suggest", "--quant", "none"), "--quant none");
        StringAssert.Contains(CommandLine.Fail("inspect", "--model", fixture.Model, "--max-error", "0.1"), "--max-error goes with --suggest");
        StringAssert.Contains(CommandLine.Fail("inspect", "--model", fixture.Model, "--suggest", "--max-error", "-1"), "--max-error is -1");
    }

    [TestMethod]
    [DataRow("lora", "--rank", "4")]
    [DataRow("dora", "--rank", "4")]
    [DataRow("vera", "--rank", "4")]
    [DataRow("adalora", "--init-r", "6", "--target-r", "2")]
    [DataRow("boft", "--boft-block-size", "8")]
    [DataRow("prompt-tuning", "--num-virtual-tokens", "5")]
    [DataRow("full")]
    public void Inspect_Method_CountsWhatTrainTrains(string method, params string[] settings)
    {
        using TrainingFixture fixture = new();

        string output = CommandLine.Succeed(["inspect", "--model", fixture.Model, "--method", method, .. settings]);
        (int exitCode, _, string log) = CommandLine.Run(
            ["train", "--model", fixture.Model, "--data", fixture.Data("train.jsonl", 4), "--out", fixture.Folder.File("run"), "--max-steps", "1", "--method", method, .. settings, .. method == "adalora" ? ["--tinit", "0", "--tfinal", "0"] : (string[])[]]);

        Assert.AreEqual(0, exitCode, log);
        string line = log.Split('\n').Single(l => l.Contains("parameters are trained", StringComparison.Ordinal));
        string trained = line.Split(';')[^1].Trim().Split(' ')[0];
        StringAssert.Contains(output, $"trains {trained} ", log);
    }

    [TestMethod]
    public void Inspect_Methods_ListsEveryMethodThatTrainKnows()
    {
        using TrainingFixture fixture = new();

        string output = CommandLine.Succeed("inspect", "--model", fixture.Model, "--methods", "--rank", "4");

        foreach (string method in Trainer.Inspection.MethodCosts.Names)
        {
            StringAssert.Contains(output, method);
        }

        StringAssert.Contains(output, "Not counted: trainable-tokens:");
        long modules = 2 * ((4 * (32 + 32)) + (2 * (32 + 48)) + (48 + 32));
        StringAssert.Contains(output, (4 * modules).ToString("N0", CultureInfo.InvariantCulture));
    }

    private static string WithOutliers(TrainingFixture fixture, string path)
    {
        string file = fixture.Folder.File("outliers.onnx");
        using OnnxModel model = OnnxModelReader.Read(fixture.Model);
        LinearSite site = LinearFinder.Find(model).Find(path)!.Sites[0];
        float[] values = site.Content.ToFloats();
        int width = (int)site.Content.Dims[1];
        for (int i = 0; i < values.Length; i += width + 1)
        {
            values[i] = 50;
        }

        model.Graph.SetInitializer(site.Weight, DenseTensor.Of([.. site.Content.Dims], values));
        OnnxModelWriter.Write(model, file);
        return file;
    }
}
