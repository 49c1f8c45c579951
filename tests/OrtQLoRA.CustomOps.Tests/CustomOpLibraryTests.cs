using System.ComponentModel;
using System.Diagnostics;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.TestKit;

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
    [DataRow("*version = 999; return 0;", "has interface version 999, this program needs 2")]
    [DataRow("__builtin_strcpy(error, \"worn out\"); return 3;", "failed with status 3: worn out")]
    public void Find_LibraryOfAnotherVersion_IsRefused(string body, string expected)
    {
        using TemporaryFolder folder = new();
        string source = folder.Write("other.c", $"int ortqlora_abi_version(int* version, char* error, long long capacity) {{ {body} }}\n");
        string library = folder.File("libother.so");
        Compile(source, library);

        (CustomOpLibrary? loaded, string? reason) = CustomOpLibrary.Find(library);

        Assert.IsNull(loaded);
        StringAssert.Contains(reason, library);
        StringAssert.Contains(reason, expected);
    }

    [TestMethod]
    public void MeasurePeak_UnknownMode_NamesIt()
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();

        Assert.IsTrue(library.MeasurePeak("int8", 1) >= 0);
        Assert.IsTrue(library.MeasureReadRate(1 << 20, 1) >= 0);
        StringAssert.Contains(Assert.ThrowsExactly<NativeOpException>(() => library.MeasurePeak("fp8", 1)).Message, "fp8");
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
    [DataRow(CustomOpLibrary.TileLayout, 128 * 256)]
    [DataRow(CustomOpLibrary.PanelLayout, 80 * 144)]
    public unsafe void PackWeight_AnyLayout_PlacesEveryWeightOnceOnACacheLine(string target, int bytes)
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();
        byte[] q = [.. Enumerable.Range(0, 70 * 130).Select(i => (byte)(i * 37))];

        ReadOnlyMemory<byte> packed = library.PackWeight(q, "plain", 70, 130, target);

        Assert.AreEqual(bytes, packed.Length);
        byte[] expected = [.. q.Select(b => (byte)(b ^ 0x80)), .. Enumerable.Repeat((byte)128, packed.Length - q.Length)];
        CollectionAssert.AreEquivalent(expected, packed.ToArray());
        CollectionAssert.AreEqual(packed.ToArray(), library.PackWeight(packed.Span, target, 70, 130, target).ToArray());
        Assert.AreEqual(0, library.PackWeight([], "plain", 0, 5, target).Length);
        using System.Buffers.MemoryHandle pin = packed.Pin();
        Assert.AreEqual(0, (nint)pin.Pointer % 64);
    }

    [TestMethod]
    public void PackWeight_WrongSizeOrLayout_SaysBoth()
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();

        string Message(int bytes, string layout, string target) =>
            Assert.ThrowsExactly<NativeOpException>(() => library.PackWeight(new byte[bytes], layout, 3, 4, target)).Message;

        StringAssert.Contains(Message(10, "plain", "panel64"), "has 12 bytes; given: 10");
        StringAssert.Contains(Message(12, "other", "panel64"), "'other', expected 'plain', 'eetq_sm80', 'tile64' or 'panel64'");
        StringAssert.Contains(Message(12, "plain", "eetq_sm80"), "target is 'eetq_sm80', expected 'tile64' or 'panel64'");
    }

    /// <summary>Makes a library of C source; a test that asks for it without a compiler is reported as skipped.</summary>
    private static void Compile(string source, string library)
    {
        if (!OperatingSystem.IsLinux() && !OperatingSystem.IsMacOS())
        {
            Assert.Inconclusive("The test makes a library with cc, which this system has under another name.");
        }

        try
        {
            using Process compiler = Process.Start("cc", ["-shared", "-fPIC", "-w", "-o", library, source]);
            compiler.WaitForExit();
            Assert.AreEqual(0, compiler.ExitCode, "cc");
        }
        catch (Win32Exception e)
        {
            Assert.Inconclusive($"There is no C compiler: {e.Message}");
        }
    }
}
