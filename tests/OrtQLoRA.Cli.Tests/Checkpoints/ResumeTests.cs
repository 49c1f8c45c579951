namespace OrtQLoRA.Cli.Tests.Checkpoints;

/// <summary>A run that was cut off goes on to the bits of the run that was not.</summary>
[TestClass]
public sealed class ResumeTests
{
    private const string Latest = "step-00000006";
    private const string Previous = "step-00000004";

    [TestMethod]
    [DataRow("adamw", "--dropout", "0.2")]
    [DataRow("adamw", "--quant", "eetq", "--ema", "0.9")]
    [DataRow("adamw", "--neftune-alpha", "5", "--loraplus-ratio", "8", "--grad-accum", "2")]
    [DataRow("adamw-8bit", "--quant", "eetq", "--grad-accum", "2")]
    [DataRow("sgd", "--momentum", "0.9", "--no-shuffle", "--lr-schedule", "constant")]
    public void Resume_CutOffRun_EqualsTheUninterruptedOne(string optimizer, params string[] flags)
    {
        using TrainingFixture fixture = new();
        string[] all = ["--optimizer", optimizer, "--save-every", "2", .. flags];
        string whole = fixture.Train("whole", [.. all, "--max-steps", "11"]);

        // Steps after the last checkpoint are lost with a process that is killed; their metrics lines are there.
        string cut = fixture.Train("cut", [.. all, "--max-steps", "7"]);
        Directory.Delete(Checkpoint(cut, "step-00000007"), recursive: true);
        string output = CommandLine.Run(fixture.Arguments("cut", [.. all, "--max-steps", "11", "--resume"])).Error;

        StringAssert.Contains(output, "Going on from the checkpoint of step 6");
        TrainingFixture.AssertSameRun(whole, cut);
    }

    [TestMethod]
    public void Resume_NoCheckpoint_StartsFromTheBeginning()
    {
        using TrainingFixture fixture = new();
        string whole = fixture.Train("whole", "--max-steps", "3");

        string run = fixture.Train("run", "--max-steps", "3", "--resume");

        TrainingFixture.AssertSameRun(whole, run);
    }

    [TestMethod]
    public void Resume_FinishedRun_DoesNothingMore()
    {
        using TrainingFixture fixture = new();
        string run = fixture.Train("run", "--max-steps", "4", "--save-every", "4");
        string[] metrics = TrainingFixture.TimelessMetrics(run);
        byte[] adapter = TrainingFixture.Adapter(run);

        fixture.Train("run", "--max-steps", "4", "--save-every", "4", "--resume");

        CollectionAssert.AreEqual(metrics, TrainingFixture.TimelessMetrics(run));
        CollectionAssert.AreEqual(adapter, TrainingFixture.Adapter(run));
    }

    [TestMethod]
    [DataRow("truncated")]
    [DataRow("flipped")]
    [DataRow("missing")]
    [DataRow("no manifest")]
    [DataRow("manifest cut off")]
    public void Resume_LatestIsDamaged_TakesThePreviousAndSaysSo(string damage)
    {
        using TrainingFixture fixture = new();
        string whole = fixture.Train("whole", "--max-steps", "9", "--save-every", "2");
        string run = fixture.Train("run", "--max-steps", "6", "--save-every", "2");
        Damage(Checkpoint(run, Latest), damage);

        string output = CommandLine.Run(fixture.Arguments("run", "--max-steps", "9", "--save-every", "2", "--resume")).Error;

        StringAssert.Contains(output, "checkpoint of step 6 cannot be used");
        StringAssert.Contains(output, "Going on from the checkpoint of step 4");
        TrainingFixture.AssertSameRun(whole, run);
    }

    [TestMethod]
    public void Resume_UnfinishedCheckpoint_IsRemovedAndTold()
    {
        using TrainingFixture fixture = new();
        string run = fixture.Train("run", "--max-steps", "6", "--save-every", "2");
        string unfinished = Path.Combine(run, "checkpoints", ".step-00000008.tmp");
        Directory.CreateDirectory(unfinished);

        string output = CommandLine.Run(fixture.Arguments("run", "--max-steps", "9", "--save-every", "2", "--resume")).Error;

        StringAssert.Contains(output, "was not written to its end");
        Assert.IsFalse(Directory.Exists(unfinished));
    }

    [TestMethod]
    public void Resume_AllDamaged_StartsFromTheBeginning()
    {
        using TrainingFixture fixture = new();
        string whole = fixture.Train("whole", "--max-steps", "9", "--save-every", "2");
        string run = fixture.Train("run", "--max-steps", "6", "--save-every", "2");
        Damage(Checkpoint(run, Latest), "flipped");
        Damage(Checkpoint(run, Previous), "truncated");

        fixture.Train("run", "--max-steps", "9", "--save-every", "2", "--resume");

        TrainingFixture.AssertSameRun(whole, run);
    }

    [TestMethod]
    public void Resume_DataChanged_SaysSoAndGoesOnByForce()
    {
        using TrainingFixture fixture = new();
        string[] flags = ["--max-steps", "9", "--save-every", "2", "--resume"];
        string run = fixture.Train("run", "--max-steps", "6", "--save-every", "2");
        string[] arguments = fixture.Arguments("run", flags);
        fixture.Data("train.jsonl", 8, start: 3);

        string error = CommandLine.Fail(arguments);

        StringAssert.Contains(error, "train.jsonl");
        StringAssert.Contains(error, "data: ");
        StringAssert.Contains(error, "--force");
        Assert.IsTrue(Directory.Exists(Checkpoint(run, Latest)));
        CommandLine.Succeed([.. arguments, "--force"]);
        Assert.HasCount(9, TrainingFixture.Metrics(run));
    }

    [TestMethod]
    public void Resume_ModelChanged_SaysSo()
    {
        using TrainingFixture fixture = new();
        fixture.Train("run", "--max-steps", "6", "--save-every", "2");
        byte[] model = File.ReadAllBytes(fixture.Model);
        model[^100] ^= 1;
        File.WriteAllBytes(fixture.Model, model);

        StringAssert.Contains(CommandLine.Fail(fixture.Arguments("run", "--max-steps", "9", "--resume")), "model: ");
    }

    [TestMethod]
    [DataRow("--seed", "8")]
    [DataRow("--batch", "4")]
    public void Resume_SettingThatDecidesTheCourseChanged_SaysSo(string flag, string value)
    {
        using TrainingFixture fixture = new();
        fixture.Train("run", "--max-steps", "6", "--save-every", "2");

        StringAssert.Contains(CommandLine.Fail(fixture.Arguments("run", "--max-steps", "9", "--resume", flag, value)), $"{flag} was");
    }

    [TestMethod]
    public void Train_OverAnUnfinishedRun_IsRefusedWithoutForce()
    {
        using TrainingFixture fixture = new();
        string run = fixture.Train("run", "--max-steps", "6", "--save-every", "2");
        Directory.Delete(Checkpoint(run, Latest), recursive: true);

        StringAssert.Contains(CommandLine.Fail(fixture.Arguments("run", "--max-steps", "6")), "--resume");
        Assert.IsTrue(Directory.Exists(Checkpoint(run, Previous)));
        CommandLine.Succeed(fixture.Arguments("run", "--max-steps", "6", "--force"));
        Assert.IsFalse(Directory.Exists(Path.Combine(run, "checkpoints")));
    }

    [TestMethod]
    public void Train_SaveEvery_KeepsTheLastAndTheBest()
    {
        using TrainingFixture fixture = new();
        string run = fixture.Train(
            "run", "--max-steps", "8", "--save-every", "1", "--keep-checkpoints", "2", "--lr", "0.5", "--max-grad-norm", "0",
            "--eval-data", fixture.Data("eval.jsonl", 4), "--eval-every", "1");

        int best = TrainingFixture.Metrics(run).MinBy(m => m.GetProperty("eval_loss").GetDouble()).GetProperty("step").GetInt32();
        string[] expected = [.. new[] { best, 7, 8 }.Distinct().Order().Select(s => $"step-{s:D8}")];
        CollectionAssert.AreEqual(expected, Directory.GetDirectories(Path.Combine(run, "checkpoints")).Select(d => Path.GetFileName(d)!).Order().ToArray());
    }

    private static string Checkpoint(string run, string name) => Path.Combine(run, "checkpoints", name);

    private static void Damage(string checkpoint, string how)
    {
        string state = Path.Combine(checkpoint, "state.safetensors");
        string manifest = Path.Combine(checkpoint, "manifest.json");
        switch (how)
        {
            case "truncated":
                using (FileStream stream = new(state, FileMode.Open))
                {
                    stream.SetLength(stream.Length - 1);
                }

                break;
            case "flipped":
                byte[] content = File.ReadAllBytes(state);
                content[^8] ^= 4;
                File.WriteAllBytes(state, content);
                break;
            case "missing":
                File.Delete(state);
                break;
            case "no manifest":
                File.Delete(manifest);
                break;
            default:
                File.WriteAllText(manifest, File.ReadAllText(manifest)[..40]);
                break;
        }
    }
}
