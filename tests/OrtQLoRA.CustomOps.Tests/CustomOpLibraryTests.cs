using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.CustomOps.Tests;

[TestClass]
public sealed class CustomOpLibraryTests
{
    [TestMethod]
    public void Find_NamedFileAbsent_SaysSo()
    {
        (CustomOpLibrary? library, string? reason) = CustomOpLibrary.Find("/nowhere/libortqlora_ops.so");

        Assert.IsNull(library);
        StringAssert.Contains(reason, CustomOpLibrary.PathVariable);
        StringAssert.Contains(reason, "/nowhere/libortqlora_ops.so");
    }

    [TestMethod]
    public void Find_FileIsNoLibrary_SaysSo()
    {
        string file = Path.Combine(Path.GetTempPath(), $"not-a-library-{Environment.ProcessId}.so");
        File.WriteAllText(file, "text");
        try
        {
            (CustomOpLibrary? library, string? reason) = CustomOpLibrary.Find(file);

            Assert.IsNull(library);
            StringAssert.Contains(reason, "cannot be loaded");
        }
        finally
        {
            File.Delete(file);
        }
    }

    [TestMethod]
    public void Find_LibraryOfSomeoneElse_IsRefused()
    {
        string runtime = Directory.EnumerateFiles(AppContext.BaseDirectory, OperatingSystem.IsWindows() ? "onnxruntime.dll" : "libonnxruntime*", SearchOption.AllDirectories).First();

        (CustomOpLibrary? library, string? reason) = CustomOpLibrary.Find(runtime);

        Assert.IsNull(library);
        StringAssert.Contains(reason, "ortqlora_abi_version");
    }

    [TestMethod]
    public void Load_LibraryThere_HasTheCatalogsOperators()
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();

        CollectionAssert.AreEquivalent(OpCatalog.All.Select(o => o.Name).ToArray(), library.Operators.ToArray());
        using SessionOptions options = new();
        library.Register(options);
    }

    [TestMethod]
    public void CudaPath_KernelsAbsent_ReasonSaysWhereTheyWereLookedFor()
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();

        Assert.AreEqual(library.CudaPath is null, library.CudaReason is not null);
        if (library.CudaPath is null)
        {
            StringAssert.Contains(library.CudaReason, "ortqlora_ops_cuda");
            StringAssert.Contains(Assert.ThrowsExactly<NativeOpException>(() => library.DescribeCudaDevice(0)).Message, "ortqlora_ops_cuda");
        }
    }

    [TestMethod]
    public void PackTile64_AnyLayout_PlacesEveryWeightOnce()
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();
        byte[] q = [.. Enumerable.Range(0, 70 * 130).Select(i => (byte)(i * 37))];

        byte[] packed = library.PackTile64(q, "plain", 70, 130);

        Assert.HasCount(128 * 256, packed);
        byte[] expected = [.. q.Select(b => (byte)(b ^ 0x80)), .. Enumerable.Repeat((byte)128, packed.Length - q.Length)];
        CollectionAssert.AreEquivalent(expected, packed);
        CollectionAssert.AreEqual(packed, library.PackTile64(packed, "tile64", 70, 130));
        Assert.IsEmpty(library.PackTile64([], "plain", 0, 5));
    }

    [TestMethod]
    public void PackTile64_SizesDisagree_SaysBoth()
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();

        string message = Assert.ThrowsExactly<NativeOpException>(() => library.PackTile64(new byte[10], "plain", 3, 4)).Message;

        StringAssert.Contains(message, "has 12 bytes; given: 10");
        StringAssert.Contains(Assert.ThrowsExactly<NativeOpException>(() => library.PackTile64(new byte[12], "other", 3, 4)).Message, "'tile64'");
    }
}
