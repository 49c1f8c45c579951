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
}
