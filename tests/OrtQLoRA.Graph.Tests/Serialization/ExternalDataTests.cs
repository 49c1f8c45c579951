using Google.Protobuf;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Serialization.Protos;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Serialization;

/// <summary>Tensors in files beside the model: location, offset and length come from the model file, which is untrusted.</summary>
[TestClass]
public sealed class ExternalDataTests
{
    private static readonly byte[] Data = [.. Enumerable.Range(0, 64).Select(i => (byte)i)];

    [TestMethod]
    public void Read_SeveralFilesWithOffsets_MapsEachRange()
    {
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder.File("a.bin"), Data);
        File.WriteAllBytes(folder.File("weights/b.bin"), Data);
        using OnnxModel model = ProtoModels.Read(
            ProtoModels.Weighted(
                ProtoModels.External("w", DataType.Float, [2, 2], "a.bin", "48", "16"),
                ProtoModels.External("u", DataType.Int8, [3], "./weights/b.bin", "5"),
                ProtoModels.External("v", DataType.Float, [12], "a.bin", "0", "48")),
            folder.Path);
        CollectionAssert.AreEqual(Data[48..], model.Graph.GetValue("w").Initializer!.ToBytes());
        CollectionAssert.AreEqual(Data[5..8], model.Graph.GetValue("u").Initializer!.ToBytes());
        CollectionAssert.AreEqual(Data[..48], model.Graph.GetValue("v").Initializer!.ToBytes());
        Assert.IsInstanceOfType<ExternalTensor>(model.Graph.GetValue("w").Initializer);
    }

    [TestMethod]
    public void Read_NoElements_OpensNoFile()
    {
        using OnnxModel model = ProtoModels.Read(ProtoModels.Weighted(ProtoModels.External("w", DataType.Float, [0], "absent.bin")), Path.GetTempPath());
        Assert.AreEqual(0, model.Graph.GetValue("w").Initializer!.ByteLength);
    }

    [TestMethod]
    public void Read_TiedWeights_MayShareARangeButNotPartOfIt()
    {
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder.File("a.bin"), Data);
        TensorProto w = ProtoModels.External("w", DataType.Float, [4], "a.bin", "0");
        using OnnxModel model = ProtoModels.Read(ProtoModels.Weighted(w, ProtoModels.External("tied", DataType.Float, [2, 2], "a.bin", "0")), folder.Path);
        string message = ProtoModels.Refuse(
            ProtoModels.Weighted(w, ProtoModels.External("v", DataType.Float, [4], "a.bin", "12")), "overlap", folder.Path);
        StringAssert.Contains(message, "initializer 'v' (bytes 12 to 27) and initializer 'w' (bytes 0 to 15)");
    }

    [TestMethod]
    [DataRow("a.bin", "-1", null, "offset '-1'; a number from 0")]
    [DataRow("a.bin", "99999999999999999999", null, "a number from 0")]
    [DataRow("a.bin", "0x10", null, "a number from 0")]
    [DataRow("a.bin", "9223372036854775807", null, "which has only 64 bytes")]
    [DataRow("a.bin", "49", null, "takes bytes 49 to 64 of 'a.bin', which has only 64 bytes")]
    [DataRow("a.bin", "0", "-16", "length '-16'; a number from 0")]
    [DataRow("a.bin", "0", "15", "takes 16 bytes, but its external data in 'a.bin' has length 15")]
    [DataRow(null, "0", "16", "names no location")]
    [DataRow("absent.bin", null, null, "does not exist")]
    [DataRow("folder", null, null, "is a folder")]
    [DataRow("empty.bin", null, null, "is empty")]
    [DataRow("", null, null, "outside the model's folder")]
    [DataRow("..", null, null, "outside the model's folder")]
    [DataRow("../secret.bin", null, null, "outside the model's folder")]
    [DataRow("folder/../../secret.bin", null, null, "outside the model's folder")]
    [DataRow("..\\secret.bin", null, null, "outside the model's folder")]
    [DataRow("\\\\server\\share\\secret.bin", null, null, "outside the model's folder")]
    [DataRow("/etc/passwd", null, null, "outside the model's folder")]
    [DataRow("a.bin\0", null, null, "outside the model's folder")]
    public void Read_HostileLocation_IsRefused(string? location, string? offset, string? length, string expected)
    {
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder.File("secret.bin"), Data);
        File.WriteAllBytes(folder.File("model/a.bin"), Data);
        File.WriteAllBytes(folder.File("model/empty.bin"), []);
        Directory.CreateDirectory(folder.File("model/folder"));
        string message = ProtoModels.Refuse(
            ProtoModels.Weighted(ProtoModels.External("w", DataType.Float, [4], location, offset, length)), expected, Path.Combine(folder.Path, "model"));
        StringAssert.Contains(message, "initializer 'w'");
    }

    [TestMethod]
    public void Read_LinkOutOfTheFolder_IsRefused()
    {
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder.File("secret.bin"), Data);
        Directory.CreateDirectory(folder.File("outside"));
        File.WriteAllBytes(folder.File("outside/b.bin"), Data);
        Directory.CreateDirectory(folder.File("model"));
        File.CreateSymbolicLink(folder.File("model/link.bin"), "../secret.bin");
        Directory.CreateSymbolicLink(folder.File("model/sub"), folder.File("outside"));
        File.CreateSymbolicLink(folder.File("model/loop.bin"), "loop.bin");
        string model = Path.Combine(folder.Path, "model");
        foreach (string location in new[] { "link.bin", "sub/b.bin" })
        {
            ProtoModels.Refuse(ProtoModels.Weighted(ProtoModels.External("w", DataType.Float, [4], location)), "outside the model's folder", model);
        }

        ProtoModels.Refuse(ProtoModels.Weighted(ProtoModels.External("w", DataType.Float, [4], "loop.bin")), "cannot be found", model);
    }

    [TestMethod]
    public void Read_ModelAndDataThatAreLinksIntoOneStore_AreRead()
    {
        // The layout of the Hugging Face download cache.
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder.File("blobs/1234"), Data);
        byte[] bytes = ProtoModels.Model(ProtoModels.Weighted(ProtoModels.External("w", DataType.Float, [4], "model.onnx_data"))).ToByteArray();
        File.WriteAllBytes(folder.File("blobs/5678"), bytes);
        File.CreateSymbolicLink(folder.File("snapshots/main/model.onnx_data"), "../../blobs/1234");
        File.CreateSymbolicLink(folder.File("snapshots/main/model.onnx"), "../../blobs/5678");
        using OnnxModel model = OnnxModelReader.Read(folder.File("snapshots/main/model.onnx"));
        CollectionAssert.AreEqual(Data[..16], model.Graph.GetValue("w").Initializer!.ToBytes());
    }

    [TestMethod]
    public void Read_FromMemoryWithoutFolder_AsksForTheFolder() =>
        ProtoModels.Refuse(ProtoModels.Weighted(ProtoModels.External("w", DataType.Float, [4], "a.bin")), "a model read from memory has no folder");

    [TestMethod]
    public void Dispose_Model_UnmapsItsData()
    {
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder.File("a.bin"), Data);
        OnnxModel model = ProtoModels.Read(ProtoModels.Weighted(ProtoModels.External("w", DataType.Float, [4], "a.bin")), folder.Path);
        ExternalTensor tensor = (ExternalTensor)model.Graph.GetValue("w").Initializer!;
        Assert.IsTrue(tensor.AsSpan(4, 8).SequenceEqual(Data.AsSpan(4, 8)));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => tensor.Read(1, new byte[16]));
        model.Dispose();
        Assert.ThrowsExactly<ObjectDisposedException>(() => tensor.ToBytes());
        Assert.ThrowsExactly<ObjectDisposedException>(() => tensor.Address);
    }
}
