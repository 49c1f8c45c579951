using OrtQLoRA.Graph.IO;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.IO;

[TestClass]
public sealed class RealPathTests
{
    [TestMethod]
    [DataRow("a/b", "a", true)]
    [DataRow("a/b/c", "a", true)]
    [DataRow("a", "a", false)]
    [DataRow("ab/c", "a", false)]
    [DataRow("a", "", true)]
    public void IsInside_Folder_LooksAtWholeParts(string path, string folder, bool expected)
    {
        string root = Path.GetPathRoot(Path.GetTempPath())!;
        Assert.AreEqual(expected, RealPath.IsInside(Path.Combine(root, path), Path.Combine(root, folder)));
    }

    [TestMethod]
    public void Resolve_LinksInEveryPart_FollowsThem()
    {
        using TemporaryFolder folder = new();
        string real = RealPath.Resolve(folder.Path);
        File.WriteAllText(folder.File("store/deep/f"), "");
        Directory.CreateSymbolicLink(folder.File("d"), "store/deep");
        File.CreateSymbolicLink(folder.File("store/deep/g"), "../deep/f");
        Assert.AreEqual(Path.Combine(real, "store", "deep", "f"), RealPath.Resolve(Path.Combine(folder.Path, "d", "g")));
        Assert.AreEqual(Path.Combine(real, "store", "deep", "absent"), RealPath.Resolve(Path.Combine(folder.Path, "d", "absent")));
    }

    [TestMethod]
    public void Resolve_Loop_Throws()
    {
        using TemporaryFolder folder = new();
        File.CreateSymbolicLink(folder.File("a"), "b");
        File.CreateSymbolicLink(folder.File("b"), "a");
        Assert.ThrowsExactly<IOException>(() => RealPath.Resolve(folder.File("a")));
    }
}
