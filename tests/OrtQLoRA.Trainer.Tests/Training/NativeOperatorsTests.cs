using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Tests.Training;

[TestClass]
public sealed class NativeOperatorsTests
{
    [TestMethod]
    [DataRow(OpsMode.Auto, QuantizationKind.Eetq, true, 1)]
    [DataRow(OpsMode.Auto, QuantizationKind.None, true, 1)]
    [DataRow(OpsMode.Auto, QuantizationKind.Eetq, false, 1)]
    [DataRow(OpsMode.Auto, QuantizationKind.None, false, 0)]
    [DataRow(OpsMode.Portable, QuantizationKind.Eetq, true, 0)]
    public void Find_LibraryAbsent_WarnsOnceWhereItWouldBeUsed(OpsMode ops, QuantizationKind quantization, bool runsOnSessions, int warnings)
    {
        using OnnxModel model = new(new OnnxGraph("empty")) { Opset = 21, IrVersion = 10 };
        Warnings callback = new();

        Assert.IsNull(NativeOperators.Find(new TrainingOptions { Ops = ops, Quantization = quantization }, model, callback, runsOnSessions, () => (null, "It is not there.")));

        Assert.HasCount(warnings, callback.Messages);
        Assert.IsTrue(callback.Messages.All(m => m.EndsWith("It is not there.", StringComparison.Ordinal)));
    }

    private sealed class Warnings : ITrainingCallback
    {
        internal List<string> Messages { get; } = [];

        public void OnWarning(string message) => Messages.Add(message);
    }
}
