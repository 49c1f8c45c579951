using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Schedules;

namespace OrtQLoRA.Trainer.Tests.Configuration;

[TestClass]
public sealed class TrainingOptionsTests
{
    [TestMethod]
    public void Faults_SeveralWrongValues_ListsAll()
    {
        TrainingOptions options = new() { Out = "run", Batch = 0, Rank = -1, LearningRate = double.NaN, WarmupSteps = -1 };

        string faults = string.Join("\n", options.Faults());

        foreach (string expected in new[] { "--model", "--data", "--batch is 0", "--rank is -1", "--lr is NaN", "--warmup-steps is -1" })
        {
            StringAssert.Contains(faults, expected);
        }
    }

    [TestMethod]
    public void Faults_FullTrainingOfQuantizedWeights_IsRefused() => StringAssert.Contains(
        string.Join("\n", new TrainingOptions { Method = "full", Quantization = QuantizationKind.Eetq }.Faults()), "--quant none");

    [TestMethod]
    [DataRow("full", "v_proj")]
    [DataRow("bitfit", null)]
    public void Faults_PartOfTheWeightsBesideQuantizedOnes_IsAllowed(string method, string? target) => Assert.IsFalse(
        new TrainingOptions { Method = method, Targets = target is null ? null : ModuleSelector.OfNames(target), Quantization = QuantizationKind.Eetq }
            .Faults().Any(f => f.Contains("--quant", StringComparison.Ordinal)));

    [TestMethod]
    [DataRow("config.yaml", "lr: 0.003\ntargets: [q_proj, v_proj]\nno-shuffle: true\nlr_schedule: cosine\nrank-pattern:\n  'layers\\.0': 4\nmax-steps: null\n")]
    [DataRow("config.json", "{\"lr\": 0.003, \"targets\": [\"q_proj\", \"v_proj\"], \"no-shuffle\": true, \"lr-schedule\": \"cosine\", \"rank-pattern\": {\"layers\\\\.0\": 4}}")]
    public void Apply_YamlOrJson_SetsWhatItSays(string name, string content)
    {
        TrainingOptions options = Apply(name, content);

        Assert.AreEqual(0.003, options.LearningRate);
        CollectionAssert.AreEqual(new[] { "q_proj", "v_proj" }, options.Targets!.Names!.ToArray());
        Assert.IsFalse(options.Shuffle);
        Assert.AreEqual(ScheduleKind.Cosine, options.LearningRateSchedule);
        Assert.AreEqual(4, options.RankPattern!["layers\\.0"]);
        Assert.IsNull(options.MaxSteps);
    }

    [TestMethod]
    public void Apply_UnknownKeyAndWrongValue_ListsBothWithLines()
    {
        ConfigurationException e = Assert.ThrowsExactly<ConfigurationException>(() => Apply("c.yaml", "lr: fast\nlearning-rate: 1\n"));

        Assert.HasCount(2, e.Faults);
        StringAssert.Contains(e.Faults[0], ":1: lr is 'fast'; it must be a number");
        StringAssert.Contains(e.Faults[1], ":2: learning-rate is no setting; did you mean 'lr'?");
    }

    [TestMethod]
    [DataRow("- a\n- b\n")]
    [DataRow("lr: [1\n")]
    public void Apply_NoMapping_IsRefused(string content) => Assert.ThrowsExactly<ConfigurationException>(() => Apply("c.yaml", content));

    [TestMethod]
    public void ToJson_AfterApply_ReadsBackTheSame()
    {
        TrainingOptions options = Apply("a.yaml", "model: m.onnx\nrank: 4\nalpha-pattern: {v_proj: 2.5}\ntargets: '.*(q|v)_proj'\nmethod: bitfit\nadam-eps: 1e-4\nlayers-to-transform: [1, 3]\n");
        string json = TrainingOptionsFile.ToJson(options);
        TrainingOptions again = Apply("b.json", json);

        Assert.AreEqual(json, TrainingOptionsFile.ToJson(again));
        Assert.AreEqual(".*(q|v)_proj", again.Targets!.Regex);
        Assert.AreEqual("bitfit", again.Method);
        using JsonDocument document = JsonDocument.Parse(json);
        Assert.AreEqual("bitfit", document.RootElement.GetProperty("method").GetString());
    }

    [TestMethod]
    public void All_Settings_HaveDistinctNamesAndDescriptions()
    {
        CollectionAssert.AllItemsAreUnique(TrainingOptionCatalog.All.Select(o => o.Name).ToArray());
        Assert.IsTrue(TrainingOptionCatalog.All.All(o => o.Description.EndsWith('.')));
    }

    private static TrainingOptions Apply(string name, string content)
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder.File(name), content);
        TrainingOptions options = new();
        TrainingOptionsFile.Apply(folder.File(name), options);
        return options;
    }
}
