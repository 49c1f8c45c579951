using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Serialization.Protos;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Serialization;

/// <summary>Every model of the fixtures: read, written and compared message for message, tensors byte for byte.</summary>
[TestClass]
public sealed class RoundTripTests
{
    public static IEnumerable<object[]> Models => Fixtures.Files(".onnx").Select(f => new object[] { f });

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void Write_ModelReadFromFixture_SaysTheSame(string fixture)
    {
        string path = Fixtures.Require(fixture);
        using OnnxModel model = OnnxModelReader.Read(path);
        byte[] bytes = OnnxModelWriter.ToBytes(model);
        AssertSame(CanonicalProto.Read(path), CanonicalProto.Read(bytes, folder: null));
    }

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void Write_ClonedFixtureWithExternalData_SaysTheSame(string fixture)
    {
        string path = Fixtures.Require(fixture);
        using OnnxModel model = OnnxModelReader.Read(path);
        using OnnxModel clone = ModelCloner.Clone(model);
        using TemporaryFolder folder = new();
        string copy = folder.File("copy.onnx");
        OnnxModelWriter.Write(clone, copy, new ExternalDataOptions { Threshold = 100, Alignment = 4096, IncludeAttributes = true });
        AssertSame(CanonicalProto.Read(path), CanonicalProto.Read(copy));
    }

    private static void AssertSame(ModelProto expected, ModelProto actual)
    {
        // Part by part first: a message of a whole model would bury the difference.
        for (int i = 0; i < Math.Min(expected.Graph.Node.Count, actual.Graph.Node.Count); i++)
        {
            Assert.AreEqual(expected.Graph.Node[i], actual.Graph.Node[i]);
        }

        foreach ((TensorProto e, TensorProto a) in expected.Graph.Initializer.Zip(actual.Graph.Initializer))
        {
            Assert.IsTrue(e.Equals(a), $"initializer '{e.Name}' and '{a.Name}'");
        }

        foreach ((ValueInfoProto e, ValueInfoProto a) in expected.Graph.ValueInfo.Zip(actual.Graph.ValueInfo))
        {
            Assert.AreEqual(e, a);
        }

        CollectionAssert.AreEqual(expected.Graph.Input, actual.Graph.Input);
        CollectionAssert.AreEqual(expected.Graph.Output, actual.Graph.Output);
        CollectionAssert.AreEqual(expected.Functions, actual.Functions);
        Assert.IsTrue(expected.Graph.Equals(actual.Graph), "graphs");
        expected.Graph = null;
        actual.Graph = null;
        Assert.AreEqual(expected, actual);
    }
}
