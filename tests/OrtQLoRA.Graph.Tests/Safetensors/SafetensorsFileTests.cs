using System.Buffers.Binary;
using System.Text;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Safetensors;

[TestClass]
public sealed class SafetensorsFileTests
{
    private const string OneFloat = """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""";

    [TestMethod]
    public void Open_HeaderThenData_FindsTensorsAndMetadata()
    {
        using TemporaryFolder folder = new();
        string path = Save(folder, """{"__metadata__":{"format":"pt"},"b":{"dtype":"I64","shape":[2],"data_offsets":[4,20]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}  """, [0, 0, 128, 63, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.AreEqual("pt", file.Metadata["format"]);
        CollectionAssert.AreEqual(new[] { "b", "a" }, file.Tensors.Keys.ToArray());
        CollectionAssert.AreEqual(new[] { 1f }, file["a"].ToArray<float>());
        Assert.IsEmpty(file["a"].Dims);
        CollectionAssert.AreEqual(new[] { 1L, -1L }, file["b"].ToArray<long>());
    }

    [TestMethod]
    public void Indexer_AbsentName_ListsWhatIsThere()
    {
        using TemporaryFolder folder = new();
        using SafetensorsFile file = SafetensorsFile.Open(Save(folder, OneFloat, new byte[4]));
        ModelFormatException e = Assert.ThrowsExactly<ModelFormatException>(() => file["lora_A"]);
        StringAssert.Contains(e.Message, "no tensor 'lora_A'. It has 1: a.");
    }

    [TestMethod]
    public void Open_TensorsWithoutElements_AreAllowedAnywhere()
    {
        using TemporaryFolder folder = new();
        string path = Save(folder, """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},"z":{"dtype":"F16","shape":[3,0],"data_offsets":[4,4]}}""", new byte[4]);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.AreEqual(0, file["e"].ByteLength);
        Assert.IsEmpty(file["z"].ToBytes());
    }

    [TestMethod]
    [DataRow("""[1]""", "does not begin with '{'")]
    [DataRow("""{"a":1}""", "tensor 'a' should be an object")]
    [DataRow("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}""", "no JSON of the expected form")]
    [DataRow("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} x""", "no JSON of the expected form")]
    [DataRow("""{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}""", "dtype 'F33'; known are BOOL")]
    [DataRow("""{"a":{"shape":[1],"data_offsets":[0,4]}}""", "dtype ''")]
    [DataRow("""{"a":{"dtype":"F32","data_offsets":[0,4]}}""", "has no shape")]
    [DataRow("""{"a":{"dtype":"F32","shape":[1]}}""", "needs two data_offsets")]
    [DataRow("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}""", "needs two data_offsets")]
    [DataRow("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}}""", "unknown field 'strides'")]
    [DataRow("""{"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}}""", "two fields 'dtype'")]
    [DataRow("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", "whole numbers from 0")]
    [DataRow("""{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}""", "whole numbers from 0")]
    [DataRow("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}""", "whole numbers from 0")]
    [DataRow("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,99999999999999999999]}}""", "whole numbers from 0")]
    [DataRow("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "truncated or damaged")]
    [DataRow("""{"a":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}}""", "truncated or damaged")]
    [DataRow("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", "does not take the 4 bytes")]
    [DataRow("""{"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}""", "does not take the 4 bytes")]
    [DataRow("""{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,0],"data_offsets":[0,0]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "does not take the 0 bytes")]
    [DataRow("""{"a":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}""", "may have no holes")]
    [DataRow("""{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}""", "No tensor holds the rest")]
    [DataRow("""{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""", "inside tensor 'a'")]
    [DataRow("""{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""", "names tensor 'a' twice")]
    [DataRow("""{"__metadata__":{"k":"1","k":"2"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "the key 'k' twice")]
    [DataRow("""{"__metadata__":{"k":1},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "should be a string")]
    [DataRow("""{"__metadata__":"pt","a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "should be an object")]
    public void Open_MalformedHeader_SaysWhat(string header, string expected)
    {
        using TemporaryFolder folder = new();
        string path = Save(folder, header, new byte[4]);
        ModelFormatException e = Assert.ThrowsExactly<ModelFormatException>(() => SafetensorsFile.Open(path));
        StringAssert.Contains(e.Message, expected);
        StringAssert.Contains(e.Message, path);
    }

    [TestMethod]
    [DataRow(0UL, "does not begin with")]
    [DataRow(100_000_001UL, "headers end at 100000000")]
    [DataRow(ulong.MaxValue, "headers end at 100000000")]
    [DataRow(1_000UL, "no safetensors file, or it is truncated")]
    public void Open_ImpossibleHeaderLength_IsRefusedBeforeReading(ulong length, string expected)
    {
        using TemporaryFolder folder = new();
        string path = Save(folder, OneFloat, new byte[4]);
        byte[] bytes = File.ReadAllBytes(path);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
        File.WriteAllBytes(path, bytes);
        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => SafetensorsFile.Open(path)).Message, expected);
    }

    [TestMethod]
    public void Open_FileCutAnywhere_IsRefused()
    {
        using TemporaryFolder folder = new();
        string path = Save(folder, OneFloat, new byte[4]);
        byte[] bytes = File.ReadAllBytes(path);
        for (int length = 0; length < bytes.Length; length++)
        {
            File.WriteAllBytes(path, bytes[..length]);
            Assert.ThrowsExactly<ModelFormatException>(() => SafetensorsFile.Open(path), $"cut to {length} bytes");
        }
    }

    [TestMethod]
    public void Open_MutatedBytes_OpensOrSaysWhy()
    {
        using TemporaryFolder folder = new();
        string path = Save(folder, """{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"I8","shape":[2,2],"data_offsets":[4,8]}}""", new byte[8]);
        byte[] original = File.ReadAllBytes(path);
        const int seed = 11;
        Random random = new(seed);
        for (int round = 0; round < 3000; round++)
        {
            byte[] bytes = ByteMutator.Mutate(original, random);
            File.WriteAllBytes(path, bytes);
            try
            {
                using SafetensorsFile file = SafetensorsFile.Open(path);
                Assert.IsTrue(file.Tensors.Values.All(t => t.ToBytes().Length == t.ByteLength));
            }
            catch (ModelFormatException)
            {
                // The expected answer to a damaged file.
            }
            catch (Exception e) when (e is not UnitTestAssertException)
            {
                Assert.Fail($"seed {seed}, round {round}: {e}");
            }
        }
    }

    [TestMethod]
    public void Read_AfterDispose_Throws()
    {
        using TemporaryFolder folder = new();
        SafetensorsFile file = SafetensorsFile.Open(Save(folder, OneFloat, new byte[4]));
        ITensor tensor = file["a"];
        file.Dispose();
        Assert.ThrowsExactly<ObjectDisposedException>(() => tensor.ToBytes());
    }

    private static string Save(TemporaryFolder folder, string header, byte[] data)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        byte[] length = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)json.Length);
        string path = folder.File("model.safetensors");
        File.WriteAllBytes(path, [.. length, .. json, .. data]);
        return path;
    }
}
