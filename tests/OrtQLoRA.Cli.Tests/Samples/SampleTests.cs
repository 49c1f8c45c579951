using OrtQLoRA.Samples;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Samples;

[TestClass]
public sealed class SampleTests
{
    [TestMethod]
    public void Run_Instruction_BeatsItsBaseline() => AssertBeatsBaseline(InstructionSample.Run);

    [TestMethod]
    public void Run_Classifier_BeatsItsBaseline() => AssertBeatsBaseline(ClassifierSample.Run);

    [TestMethod]
    public void Run_Embedding_BeatsItsBaseline() => AssertBeatsBaseline(EmbeddingSample.Run);

    private static void AssertBeatsBaseline(Func<string, bool> sample)
    {
        using TemporaryFolder folder = new();

        Assert.IsTrue(sample(folder.File("run")), "The sample missed its margin; its line in the output says by how much.");
    }
}
