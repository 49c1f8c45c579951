using Fixtures = OrtQLoRA.TestKit.Fixtures;

namespace OrtQLoRA.Cli.Tests.Docs;

[TestClass]
public sealed class CliReferenceTests
{
    private const string UpdateVariable = "ORTQLORA_UPDATE_DOCS";

    [TestMethod]
    public void CliReference_OfTheCommandTree_EqualsTheDocument()
    {
        string file = Path.Combine(Fixtures.RepositoryRoot()!, "docs", "cli.md");
        string expected = CliReference.Write(CommandLineApp.CreateRoot(new CommandContext(TextWriter.Null, TextWriter.Null), out _));
        if (Environment.GetEnvironmentVariable(UpdateVariable) == "1")
        {
            File.WriteAllText(file, expected);
        }

        Assert.AreEqual(expected, File.ReadAllText(file), $"docs/cli.md is not that of the commands; write it anew with {UpdateVariable}=1 ./ortqlora test CliReference.");
    }
}
