namespace OrtQLoRA.Cli.Tests;

[TestClass]
public sealed class DryRunTests
{
    [TestMethod]
    public void Train_DryRun_TellsMemoryAndTimeAndWritesNothing()
    {
        using TrainingFixture fixture = new();

        string output = CommandLine.Succeed([.. fixture.Arguments("run", "--max-steps", "50"), "--dry-run"]);

        foreach (string expected in new[] { "Frozen weights:", "3,968 parameters", "Activations:", "16 tokens", "50 steps" })
        {
            StringAssert.Contains(output, expected);
        }

        Assert.IsFalse(Directory.Exists(fixture.Folder.File("run")));
    }

    [TestMethod]
    public void Train_DryRunWithFaultyOptions_ListsThem() =>
        StringAssert.Contains(CommandLine.Fail("train", "--dry-run", "--batch", "0"), "--batch is 0");
}
