using System.Text;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Safetensors;

[TestClass]
public sealed class SafetensorsWriterTests
{
    public static IEnumerable<object[]> Files => Fixtures.Files(".safetensors").Where((_, i) => i % 8 == 0).Select(f => new object[] { f });

    [TestMethod]
    public void Write_Tensors_PadsHeaderAndOrdersWideTypesFirst()
    {
        using MemoryStream stream = new();
        SafetensorsWriter.Write(stream, new Dictionary<string, ITensor>
        {
            ["b"] = DenseTensor.Scalar(1f),
            ["c"] = DenseTensor.Vector(7L),
            ["a"] = DenseTensor.Vector(2f, 3f),
        });
        const string json = """{"__metadata__":{"format":"pt"},"c":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},"b":{"dtype":"F32","shape":[],"data_offsets":[16,20]}}""";
        byte[] bytes = stream.ToArray();
        int padded = (json.Length + 7) / 8 * 8;
        Assert.AreEqual((ulong)padded, BitConverter.ToUInt64(bytes));
        Assert.AreEqual(json.PadRight(padded), Encoding.UTF8.GetString(bytes, 8, padded));
        Assert.AreEqual(8 + padded + 20, bytes.Length);
    }

    [TestMethod]
    [DynamicData(nameof(Files))]
    public void Write_FixtureReadBefore_HoldsTheSameTensors(string fixture)
    {
        string path = Fixtures.Require(fixture);
        using TemporaryFolder folder = new();
        using SafetensorsFile file = SafetensorsFile.Open(path);
        SafetensorsWriter.Write(folder.File("copy.safetensors"), file.Tensors, file.Metadata);
        using SafetensorsFile copy = SafetensorsFile.Open(folder.File("copy.safetensors"));
        Assert.HasCount(file.Tensors.Count, copy.Tensors);
        foreach ((string name, ITensor tensor) in file.Tensors)
        {
            TensorAssert.AreEqual(tensor, copy[name], name);
        }

        // PEFT's own files, by which its loaders and ours are measured, come back to the byte.
        if (file.Metadata.ContainsKey("format"))
        {
            Assert.IsTrue(File.ReadAllBytes(path).AsSpan().SequenceEqual(File.ReadAllBytes(folder.File("copy.safetensors"))), "bytes differ");
        }
    }

    [TestMethod]
    [DataRow(DataType.Double)]
    [DataRow(DataType.Float)]
    [DataRow(DataType.Float16)]
    [DataRow(DataType.BFloat16)]
    [DataRow(DataType.Int64)]
    [DataRow(DataType.Int32)]
    [DataRow(DataType.Int16)]
    [DataRow(DataType.Int8)]
    [DataRow(DataType.UInt8)]
    [DataRow(DataType.Bool)]
    [DataRow(DataType.Float8E4M3FN)]
    [DataRow(DataType.Float8E5M2)]
    [DataRow(DataType.UInt16)]
    [DataRow(DataType.UInt32)]
    [DataRow(DataType.UInt64)]
    public void Write_EachType_ComesBackByteForByte(DataType type)
    {
        byte[] data = new byte[type.ByteLength(3 * 5)];
        new Random(5).NextBytes(data);
        DenseTensor tensor = new(type, [3, 5], data);
        using TemporaryFolder folder = new();
        string path = folder.File("t.safetensors");
        SafetensorsWriter.Write(path, [new("x", tensor)], [new("made", "by a test"), new("format", "np")]);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        TensorAssert.AreEqual(tensor, file["x"]);
        Assert.AreEqual("by a test", file.Metadata["made"]);
        Assert.AreEqual("np", file.Metadata["format"]);
    }

    [TestMethod]
    public void Write_TypeThatTheFormatLacks_NamesTensorAndType()
    {
        DenseTensor tensor = new(DataType.Int4, [2], new byte[1]);
        ModelFormatException e = Assert.ThrowsExactly<ModelFormatException>(() => SafetensorsWriter.Write(Stream.Null, [new("w", tensor)]));
        StringAssert.Contains(e.Message, "Tensor 'w' is int4");
    }

    [TestMethod]
    public void Write_NameTwice_IsRefused() => Assert.ThrowsExactly<ModelFormatException>(
        () => SafetensorsWriter.Write(Stream.Null, [new("w", DenseTensor.Scalar(1f)), new("w", DenseTensor.Scalar(1L))]));

    [TestMethod]
    public void Write_NamesThatJsonEscapes_ComeBack()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("t.safetensors");
        string name = "layer \"0\"\\\n\u00e9\u4f60";
        SafetensorsWriter.Write(path, [new(name, DenseTensor.Scalar(1f))]);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.AreEqual(name, file.Tensors.Keys.Single());
    }
}
