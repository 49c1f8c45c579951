using Google.Protobuf;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Serialization.Protos;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Serialization;

/// <summary>Large weights stay in the model file.</summary>
[TestClass]
public sealed class ModelSkeletonTests
{
    private const int Smallest = 16;

    /// <summary>A skeleton with the raw data put back is the model, whatever bytes it was made of.</summary>
    [TestMethod]
    [DataRow("exports/dyn18_mlp/model.onnx", 3000)]
    [DataRow("exports/dyn18_local_functions/model.onnx", 1500)]
    [DataRow("exports/optimum_t5_merged_if/decoder_model_merged.onnx", 200)]
    public void Of_MutatedBytes_LosesNothing(string fixture, int rounds)
    {
        byte[] original = File.ReadAllBytes(Fixtures.Require(fixture));
        int skeletons = 0;
        for (int seed = 0; seed < rounds; seed++)
        {
            byte[] bytes = seed == 0 ? original : ByteMutator.Mutate(original, new Random(seed));
            if (ModelSkeleton.Of(bytes, Smallest) is not { } skeleton)
            {
                continue;
            }

            ModelProto? expected = Parse(bytes);
            ModelProto? actual = Parse(skeleton.Message.Span);
            Assert.AreEqual(expected is null, actual is null, $"{fixture}, seed {seed}: one of them parses");
            if (expected is null || actual is null)
            {
                continue;
            }

            skeletons++;
            foreach ((int index, (int offset, int length)) in skeleton.RawData)
            {
                Assert.IsGreaterThanOrEqualTo(Smallest, length);
                Assert.IsFalse(actual.Graph.Initializer[index].HasRawData);
                actual.Graph.Initializer[index].RawData = ByteString.CopyFrom(bytes, offset, length);
            }

            Assert.AreEqual(expected, actual, $"{fixture}, seed {seed}");
        }

        Assert.IsGreaterThan(rounds / 20, skeletons, "Mutations must leave models to compare.");
    }

    [TestMethod]
    public void Of_GraphInTwoParts_CountsInitializersThroughBoth()
    {
        ModelProto Part(params TensorProto[] initializers)
        {
            ModelProto model = new() { Graph = new GraphProto() };
            model.Graph.Initializer.AddRange(initializers);
            return model;
        }

        byte[] bytes = [.. Part(Large("a"), Small("b")).ToByteArray(), .. Part(Small("c"), Large("d")).ToByteArray()];

        ModelSkeleton? skeleton = ModelSkeleton.Of(bytes);

        Assert.IsNotNull(skeleton);
        CollectionAssert.AreEquivalent(new[] { 0, 3 }, skeleton.RawData.Keys.ToArray());
        CollectionAssert.AreEqual(new[] { "a", "b", "c", "d" }, ModelProto.Parser.ParseFrom(skeleton.Message.Span).Graph.Initializer.Select(i => i.Name).ToArray());
    }

    [TestMethod]
    public void Of_NothingLargeOrRawDataTwice_LeavesTheModelToTheParser()
    {
        Assert.IsNull(ModelSkeleton.Of(ProtoModels.Model(ProtoModels.Weighted(Small("w"))).ToByteArray()));
        byte[] tensor = [.. Large("w").ToByteArray(), .. new TensorProto { RawData = ByteString.CopyFrom(1, 2) }.ToByteArray()];
        byte[] graph = [(5 << 3) | 2, .. Varint(tensor.Length), .. tensor];
        Assert.IsNull(ModelSkeleton.Of([(7 << 3) | 2, .. Varint(graph.Length), .. graph]));
        Assert.IsNull(ModelSkeleton.Of([0xFF, 0xFF]));
    }

    [TestMethod]
    public void Read_LargeWeight_StaysInTheFileUntilTheModelIsDisposed()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("model.onnx");
        TensorProto large = Large("large");
        File.WriteAllBytes(path, ProtoModels.Model(ProtoModels.Weighted(Small("small"), large)).ToByteArray());

        OnnxModel model = OnnxModelReader.Read(path);
        ITensor weight = model.Graph.GetValue("large").Initializer!;
        bool isMapped = weight is ExternalTensor { IsInModelFile: true };
        byte[] bytes = weight.ToBytes();
        byte[] written = OnnxModelWriter.ToBytes(model);
        model.Dispose();

        Assert.IsTrue(isMapped);
        Assert.IsInstanceOfType<DenseTensor>(model.Graph.GetValue("small").Initializer);
        CollectionAssert.AreEqual(large.RawData.ToByteArray(), bytes);
        CollectionAssert.AreEqual(bytes, OnnxModelReader.Read(written).Graph.GetValue("large").Initializer!.ToBytes());
        Assert.ThrowsExactly<ObjectDisposedException>(() => weight.ToBytes());
        File.WriteAllText(path, "The file is free again.");
    }

    [TestMethod]
    public void Read_DamagedLargeWeight_SaysWhatTheParserWould()
    {
        void Refuse(TensorProto tensor, string expected)
        {
            using TemporaryFolder folder = new();
            string path = folder.File("model.onnx");
            byte[] bytes = ProtoModels.Model(ProtoModels.Weighted(tensor)).ToByteArray();
            File.WriteAllBytes(path, bytes);
            string message = Assert.ThrowsExactly<ModelFormatException>(() => OnnxModelReader.Read(path)).Message;
            StringAssert.Contains(message, expected);
            Assert.AreEqual(message.Replace($"'{path}'", "", StringComparison.Ordinal),
                Assert.ThrowsExactly<ModelFormatException>(() => OnnxModelReader.Read(bytes)).Message.Replace("the model in memory", "", StringComparison.Ordinal));
        }

        TensorProto longer = Large("w");
        longer.Dims[0]--;
        Refuse(longer, $"takes {ModelSkeleton.SmallestRawData - 4} bytes, but the file holds {ModelSkeleton.SmallestRawData}");
        TensorProto twice = Large("w");
        twice.FloatData.Add(1);
        Refuse(twice, "holds its elements twice");
        TensorProto text = Large("w");
        text.DataType = (int)DataType.String;
        Refuse(text, "holds strings as raw data");
    }

    private static ModelProto? Parse(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return ModelProto.Parser.ParseFrom(bytes);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or System.Text.DecoderFallbackException or ArgumentException)
        {
            return null;
        }
    }

    private static TensorProto Small(string name) => ProtoModels.Tensor(name, DataType.Float, [1], [0, 0, 128, 63]);

    private static TensorProto Large(string name)
    {
        byte[] bytes = new byte[ModelSkeleton.SmallestRawData];
        new Random(name[0]).NextBytes(bytes);
        return ProtoModels.Tensor(name, DataType.Float, [bytes.Length / sizeof(float)], bytes);
    }

    private static byte[] Varint(int value) => value < 0x80 ? [(byte)value] : [(byte)(value | 0x80), .. Varint(value >> 7)];
}
