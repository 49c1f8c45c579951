using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.IR;

/// <summary>What must hold for every model that exporters wrote.</summary>
[TestClass]
public sealed class FixtureModelTests
{
    public static IEnumerable<object[]> Models => Fixtures.Files(".onnx").Select(f => new object[] { f });

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void FindFaults_ModelOfAnExporter_FindsNone(string fixture)
    {
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require(fixture));
        Assert.AreEqual("", string.Join('\n', GraphVerifier.FindFaults(model)));
    }

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void Print_CloneOfAModel_GivesTheSameText(string fixture)
    {
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require(fixture));
        using OnnxModel clone = ModelCloner.Clone(model);
        string text = GraphPrinter.Print(model);
        Assert.AreEqual(text, GraphPrinter.Print(clone));
        Assert.IsEmpty(GraphVerifier.FindFaults(clone));
        Assert.IsGreaterThanOrEqualTo(model.Graph.NodeCount, text.Count(c => c == '\n'));
    }
}
