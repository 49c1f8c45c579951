using System.Text.Json;
using System.Text.RegularExpressions;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Reports;

[TestClass]
public sealed partial class RunReportTests
{
    [TestMethod]
    public void Report_OfARun_ShowsEverythingAndNeedsNoOtherFile()
    {
        using TrainingFixture fixture = new();
        string html = File.ReadAllText(Path.Combine(Train(fixture, "run <&>"), "report.html"));

        foreach (string expected in new[]
        {
            "<h1>run &lt;&amp;&gt;</h1>", "Loss", "training, smoothed", "</span>eval", "Learning rate", "Gradient norm", "Tokens per second",
            "Samples", "Quantization error by layer (eetq)", "model.layers.0.self_attn.q_proj", "Configuration", "lr-schedule",
        })
        {
            StringAssert.Contains(html, expected);
        }

        Assert.IsFalse(OtherFile().IsMatch(html), "The page must be whole in itself.");
        Assert.AreEqual(html.Split("<svg").Length, html.Split("</svg>").Length);
    }

    [TestMethod]
    [DataRow(false, 0xf7f7f4, 0x2a6fd0)]
    [DataRow(true, 0x161615, 0x6ba4f5)]
    public void Report_InABrowser_FollowsTheReadersColours(bool isDark, int page, int line)
    {
        using TrainingFixture fixture = new();
        string report = Path.Combine(Train(fixture, "run"), "report.html");

        Screenshot? picture = Screenshot.Take(report, isDark);

        if (picture is null)
        {
            Assert.Inconclusive("There is no Chromium on this machine.");
        }

        Assert.AreEqual(page, picture[2, 2]);
        Assert.IsGreaterThan(500, picture.Count(line), "pixels of curves and bars");
    }

    [TestMethod]
    public void Compare_TwoRuns_ShowsFiguresAndDifferingSettings()
    {
        using TrainingFixture fixture = new();
        string a = Train(fixture, "a");
        string b = fixture.Train("b", "--max-steps", "5", "--lr", "0.02");
        string page = fixture.Folder.File("compare.html");

        string table = CommandLine.Succeed("compare", a, b, "--output", page);
        using JsonDocument json = JsonDocument.Parse(CommandLine.Succeed("compare", a, b, "--json"));

        StringAssert.Contains(table, "best eval loss");
        StringAssert.Contains(table, "lr-schedule");
        JsonElement settings = json.RootElement.GetProperty("settings");
        CollectionAssert.AreEqual(new[] { "0.01", "0.02" }, settings.GetProperty("lr").EnumerateArray().Select(e => e.GetString()).ToArray());
        Assert.IsFalse(settings.TryGetProperty("seed", out _));
        Assert.AreEqual(6, json.RootElement.GetProperty("figures").GetProperty("steps")[0].GetInt32());
        StringAssert.Contains(File.ReadAllText(page), "Training loss, smoothed");
        StringAssert.Contains(CommandLine.Fail("compare", a, fixture.Folder.Path), "is no run folder");
    }

    [TestMethod]
    public void Report_OfAnUnfinishedRun_IsWrittenByCommand()
    {
        using TrainingFixture fixture = new();
        string run = fixture.Train("run", "--max-steps", "3", "--no-report", "--no-tensorboard");
        Assert.IsFalse(File.Exists(Path.Combine(run, "report.html")));
        Assert.HasCount(0, Directory.GetFiles(run, "events.*"));
        File.AppendAllText(Path.Combine(run, "metrics.jsonl"), "{\"step\": 4, \"lo");

        CommandLine.Succeed("report", "--run", run);

        Assert.IsTrue(File.Exists(Path.Combine(run, "report.html")));
    }

    private static string Train(TrainingFixture fixture, string name) => fixture.Train(
        name, "--max-steps", "6", "--eval-data", fixture.Data("eval.jsonl", 4), "--eval-every", "2", "--quant", "eetq", "--samples", "2", "--lr-schedule", "cosine");

    [GeneratedRegex("""(src|href)=|https?://|url\(|<script""")]
    private static partial Regex OtherFile();
}
