using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Tests.Engines;

[TestClass]
public sealed class PhysicalCoresTests
{
    [TestMethod]
    public void CountIn_ProcessorsThatShareACore_CountOnce()
    {
        using TemporaryFolder folder = new();
        Processor(folder, "cpu0", "0-1\n");
        Processor(folder, "cpu1", "0-1\n");
        Directory.CreateDirectory(folder.File("cpufreq"));

        Assert.AreEqual(1, PhysicalCores.CountIn(folder.Path));
    }

    [TestMethod]
    public void CountIn_MoreCoresThanTheProcessMayUse_StopsThere()
    {
        using TemporaryFolder folder = new();
        for (int i = 0; i < Environment.ProcessorCount + 3; i++)
        {
            Processor(folder, $"cpu{i}", $"{i}\n");
        }

        Assert.AreEqual(Environment.ProcessorCount, PhysicalCores.CountIn(folder.Path));
    }

    [TestMethod]
    public void CountIn_NoList_LeavesItToOnnxRuntime()
    {
        using TemporaryFolder folder = new();

        Assert.AreEqual(0, PhysicalCores.CountIn(folder.Path));
        Assert.AreEqual(0, PhysicalCores.CountIn(folder.File("missing")));
    }

    [TestMethod]
    public void ThreadsFor_NumberGiven_IsKept() => Assert.AreEqual(7, PhysicalCores.ThreadsFor(7));

    private static void Processor(TemporaryFolder folder, string name, string siblings)
    {
        string topology = Path.Combine(folder.Path, name, "topology");
        Directory.CreateDirectory(topology);
        File.WriteAllText(Path.Combine(topology, "thread_siblings_list"), siblings);
    }
}
