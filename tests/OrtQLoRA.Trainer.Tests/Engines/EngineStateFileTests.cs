using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Tests.Engines;

[TestClass]
public sealed class EngineStateFileTests
{
    [TestMethod]
    public void Read_AfterWrite_ContinuesBitForBit()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("state.safetensors");
        using TrainingArtifacts artifacts = SmallArtifacts.Create(maxGradNorm: 0.5);
        using SessionTrainingEngine whole = new(artifacts) { LearningRate = 0.05 };
        SessionTrainingEngineTests.Run(whole, 0, 3);
        EngineStateFile.Write(path, whole.SaveState());
        SessionTrainingEngineTests.Run(whole, 3, 6);

        using SessionTrainingEngine resumed = new(artifacts) { LearningRate = 0.05 };
        resumed.LoadState(EngineStateFile.Read(path));
        SessionTrainingEngineTests.Run(resumed, 3, 6);

        Assert.AreEqual(6, resumed.CompletedSteps);
        CollectionAssert.AreEqual(whole.GetParameter("w").ToFloats(), resumed.GetParameter("w").ToFloats());
    }

    [TestMethod]
    public void Read_OtherSafetensors_IsRefused()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("other.safetensors");
        Graph.Safetensors.SafetensorsWriter.Write(path, [new("w", DenseTensor.Vector(1f))]);

        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => EngineStateFile.Read(path)).Message, "no engine state");
    }
}
