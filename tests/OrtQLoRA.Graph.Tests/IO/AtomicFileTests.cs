using OrtQLoRA.Graph.IO;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.IO;

[TestClass]
public sealed class AtomicFileTests
{
    [TestMethod]
    public void Write_NewAndExistingFile_HasTheContent()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("f.txt");
        AtomicFile.Write(path, s => s.Write("one"u8));
        AtomicFile.Write(path, s => s.Write("two, longer"u8));
        AtomicFile.Write(path, s => s.Write("3"u8));
        Assert.AreEqual("3", File.ReadAllText(path));
        Assert.HasCount(1, Directory.GetFiles(folder.Path));
    }

    [TestMethod]
    public void Write_WriterThatThrows_LeavesTheOldFileAndNothingElse()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("f.txt");
        File.WriteAllText(path, "old");
        Assert.ThrowsExactly<InvalidOperationException>(() => AtomicFile.Write(path, s =>
        {
            s.Write(new byte[100_000]);
            throw new InvalidOperationException();
        }));
        Assert.AreEqual("old", File.ReadAllText(path));
        Assert.HasCount(1, Directory.GetFiles(folder.Path));
    }

    [TestMethod]
    public void Create_WithoutCommit_ShowsNothingUnderTheName()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("f.txt");
        using (AtomicFile file = AtomicFile.Create(path))
        {
            file.Stream.Write("half"u8);
            file.Stream.Flush();
            Assert.IsFalse(File.Exists(path));
        }

        Assert.IsEmpty(Directory.GetFiles(folder.Path));
    }

    [TestMethod]
    public void Create_SeveralForOneTarget_DoNotMeet()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("f.txt");
        using AtomicFile first = AtomicFile.Create(path);
        using AtomicFile second = AtomicFile.Create(path);
        first.Stream.Write("1"u8);
        second.Stream.Write("2"u8);
        second.Commit();
        first.Commit();
        Assert.AreEqual("1", File.ReadAllText(path));
    }

    [TestMethod]
    public void Write_TargetThatCannotBe_SaysWhy()
    {
        using TemporaryFolder folder = new();
        StringAssert.Contains(Assert.ThrowsExactly<FileWriteException>(() => AtomicFile.Write(folder.Path, _ => { })).Message, "it is a folder");
        StringAssert.Contains(
            Assert.ThrowsExactly<FileWriteException>(() => AtomicFile.Write(Path.Combine(folder.Path, "no", "f"), _ => { })).Message, "does not exist");
        File.WriteAllText(folder.File("file"), "");
        FileWriteException e = Assert.ThrowsExactly<FileWriteException>(() => AtomicFile.Write(Path.Combine(folder.Path, "file", "f"), _ => { }));
        Assert.IsTrue(e.IsUserError);
    }

    [TestMethod]
    public void Fill_DiskThatRefuses_NamesTheTarget()
    {
        using TemporaryFolder folder = new();
        using AtomicFile file = AtomicFile.Create(folder.File("f.txt"));
        FileWriteException e = Assert.ThrowsExactly<FileWriteException>(() => file.Fill(_ => throw new IOException("No space left on device.")));
        StringAssert.Contains(e.Message, "No space left on device.");
        StringAssert.Contains(e.Message, "f.txt");
    }
}
