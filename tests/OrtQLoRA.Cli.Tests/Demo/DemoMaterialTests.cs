using OrtQLoRA.Demo.Base;
using OrtQLoRA.TestKit;
using Fixtures = OrtQLoRA.TestKit.Fixtures;

namespace OrtQLoRA.Cli.Tests.Demo;

[TestClass]
public sealed class DemoMaterialTests
{
    [TestMethod]
    [DataRow("tokenizer.bin")]
    [DataRow("logbook.jsonl")]
    [DataRow("logbook-eval.jsonl")]
    public void Write_FromTheGrammars_GivesTheFilesOfTheRepository(string file)
    {
        using TemporaryFolder folder = new();
        DemoMaterial.Write(folder.File("made"));

        CollectionAssert.AreEqual(File.ReadAllBytes(Path.Combine(Fixtures.RepositoryRoot()!, "demo", file)), File.ReadAllBytes(folder.File("made/" + file)));
    }

    [TestMethod]
    public void Files_OfTheDemo_StaySmall()
    {
        long bytes = Directory.EnumerateFiles(Path.Combine(Fixtures.RepositoryRoot()!, "demo")).Sum(f => new FileInfo(f).Length);

        Assert.IsLessThan(3_000_000, bytes);
    }
}
