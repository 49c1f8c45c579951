using System.Text.Json;
using OrtQLoRA.Trainer.Configuration;
using Fixtures = OrtQLoRA.TestKit.Fixtures;

namespace OrtQLoRA.Cli.Tests.Docs;

[TestClass]
public sealed class ConfigSchemaTests
{
    private const string UpdateVariable = "ORTQLORA_UPDATE_DOCS";

    [TestMethod]
    public void CliReference_OfTheConfigFile_EqualsTheSchema()
    {
        string file = Path.Combine(Fixtures.RepositoryRoot()!, "docs", "config.schema.json");
        string expected = TrainingOptionsSchema.ToJson();
        if (Environment.GetEnvironmentVariable(UpdateVariable) == "1")
        {
            File.WriteAllText(file, expected);
        }

        Assert.AreEqual(expected, File.ReadAllText(file), $"docs/config.schema.json is not that of the settings; write it anew with {UpdateVariable}=1 ./ortqlora test CliReference.");
    }

    [TestMethod]
    [DataRow("lr", "number")]
    [DataRow("batch", "integer")]
    [DataRow("resume", "boolean")]
    [DataRow("model", "string")]
    public void Schema_Setting_HasItsType(string name, string type)
    {
        using JsonDocument schema = JsonDocument.Parse(TrainingOptionsSchema.ToJson());

        Assert.AreEqual(type, schema.RootElement.GetProperty("properties").GetProperty(name).GetProperty("type").GetString());
    }

    [TestMethod]
    public void Train_MistypedFlag_IsToldTheNearest() => StringAssert.Contains(CommandLine.Fail("train", "--warmup-step", "3"), "--warmup-steps");

    [TestMethod]
    public void Train_ResolvedConfigOfARun_TrainsTheSame()
    {
        using TrainingFixture fixture = new();
        string first = fixture.Train("first", "--max-steps", "4", "--lr-schedule", "wsd", "--targets", "q_proj", "v_proj", "--no-decay", "bias");

        string second = fixture.Folder.File("second");
        CommandLine.Succeed("train", "--config", Path.Combine(first, "config.resolved.json"), "--out", second);

        TrainingFixture.AssertSameRun(first, second);
    }
}
