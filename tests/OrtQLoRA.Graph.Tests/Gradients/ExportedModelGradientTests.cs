using OrtQLoRA.TestKit.Exports;

namespace OrtQLoRA.Graph.Tests.Gradients;

/// <summary>Holds outputs, loss and every gradient of exported models against PyTorch's.</summary>
[TestClass]
public sealed class ExportedModelGradientTests
{
    public static IEnumerable<object[]> Cases => ExportGradientCase.PlainNames.Select(n => new object[] { n });

    [TestMethod]
    [DynamicData(nameof(Cases))]
    public void Build_ExportedModel_AgreesWithPyTorch(string name)
    {
        using ExportGradientCase exported = ExportGradientCase.Open(name);
        bool hasSecond = exported.LossValue(1) is not null && exported.Label(1) is not null;
        IReadOnlyList<ExportRun> runs = ExportRun.Of(exported, hasSecond ? [0, 1] : [0]);
        IReadOnlyList<string> differences = ExportComparison.Differences(exported, runs[0]);
        Assert.IsEmpty(differences, string.Join("\n", differences));

        // The same graph at another batch size and length.
        if (hasSecond)
        {
            Assert.AreEqual(exported.LossValue(1)!.Value, runs[1].Loss, exported.IsHalf ? 5e-4 : 1e-4, "loss of case1");
        }
    }
}
