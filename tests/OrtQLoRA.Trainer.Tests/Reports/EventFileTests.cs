using System.Buffers.Binary;
using System.Text;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Reports.TensorBoard;

namespace OrtQLoRA.Trainer.Tests.Reports;

[TestClass]
public sealed class EventFileTests
{
    /// <summary>CRC-32C of nine digits is the check value in every catalogue of checksums; the mask is TFRecord's.</summary>
    [TestMethod]
    public void MaskedCrc_CheckValue_IsTheCataloguesMasked()
    {
        const uint check = 0xE3069283;

        Assert.AreEqual(unchecked(((check >> 15) | (check << 17)) + 0xa282ead8u), RecordWriter.MaskedCrc(Encoding.ASCII.GetBytes("123456789")));
    }

    [TestMethod]
    public void OnStepEnd_Steps_ReadBackAsScalars()
    {
        using TemporaryFolder folder = new();
        Write(folder, completed: 0, new StepMetrics(1, 0.5, 2.5, 0.25, 1e-3, 100, 0.5), new StepMetrics(2, 1, double.NaN, 0.5, 2e-3, 100, 0.25) { EvalLoss = 1.5 });

        Event[] events = Read(folder);

        Assert.AreEqual("brain.Event:2", events[0].FileVersion);
        Assert.HasCount(3, events);
        Assert.AreEqual(1, events[1].Step);
        Assert.IsGreaterThan(1.6e9, events[1].WallTime);
        CollectionAssert.AreEqual(
            new (string, float)[]
            {
                ("train/loss", 2.5f), ("train/grad_norm", 0.25f), ("train/learning_rate", 1e-3f), ("train/epoch", 0.5f), ("train/tokens_per_second", 200),
            },
            events[1].Summary.Value.Select(v => (v.Tag, v.SimpleValue)).ToArray());
        Assert.IsFalse(events[2].Summary.Value.Any(v => v.Tag == "train/loss"), "TensorBoard cannot draw NaN.");
        Assert.AreEqual(1.5f, events[2].Summary.Value.Single(v => v.Tag == "eval/loss").SimpleValue);
    }

    [TestMethod]
    public void OnRunStart_ResumedRun_TellsWhatToForget()
    {
        using TemporaryFolder folder = new();
        Write(folder, completed: 40);

        Event start = Read(folder)[1];

        Assert.AreEqual(SessionLog.Types.SessionStatus.Start, start.SessionLog.Status);
        Assert.AreEqual(41, start.Step);
    }

    private static void Write(TemporaryFolder folder, long completed, params StepMetrics[] steps)
    {
        using EventFileCallback callback = new(folder.Path, NullCallback.Instance);
        callback.OnRunStart(new TrainingRunInfo(100, 1, 1, 1, []) { CompletedSteps = completed });
        foreach (StepMetrics step in steps)
        {
            callback.OnStepEnd(step);
        }
    }

    private static Event[] Read(TemporaryFolder folder)
    {
        byte[] file = File.ReadAllBytes(Directory.GetFiles(folder.Path, "events.out.tfevents.*").Single());
        List<Event> events = [];
        for (int at = 0; at < file.Length;)
        {
            int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at));
            Assert.AreEqual(RecordWriter.MaskedCrc(file.AsSpan(at, 8)), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 8)));
            Assert.AreEqual(RecordWriter.MaskedCrc(file.AsSpan(at + 12, length)), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 12 + length)));
            events.Add(Event.Parser.ParseFrom(file, at + 12, length));
            at += 16 + length;
        }

        return [.. events];
    }
}
