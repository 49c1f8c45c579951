using System.Text.RegularExpressions;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Callbacks;
using Fixtures = OrtQLoRA.TestKit.Fixtures;

namespace OrtQLoRA.Cli.Tests.Docs;

[TestClass]
[DoNotParallelize]
public sealed partial class ReadmeTests
{
    private static readonly string Root = Fixtures.RepositoryRoot()!;

    [TestMethod]
    public void Readme_Example_IsTheCodeThatIsCompiledHere()
    {
        string[] source = File.ReadAllLines(Path.Combine(Root, "tests", "OrtQLoRA.Cli.Tests", "Docs", "ReadmeExample.cs"));
        int first = Array.FindIndex(source, l => l.Contains("<readme>", StringComparison.Ordinal)) + 1;
        int last = Array.FindIndex(source, l => l.Contains("</readme>", StringComparison.Ordinal));
        string example = string.Join('\n', source[first..last].Select(l => l.Length > 8 ? l[8..] : l.Trim()));

        StringAssert.Contains(File.ReadAllText(Path.Combine(Root, "README.md")), "```csharp\n" + example + "\n```");
    }

    [TestMethod]
    public void Readme_Example_TrainsAndExports()
    {
        using TemporaryFolder folder = new();
        File.Copy(Path.Combine(Root, "demo", "model.onnx"), folder.File("model.onnx"));
        File.Copy(Path.Combine(Root, "demo", "tokenizer.bin"), folder.File("tokenizer.bin"));
        File.WriteAllLines(folder.File("train.jsonl"), File.ReadLines(Path.Combine(Root, "demo", "logbook.jsonl")).Take(16));
        string before = Environment.CurrentDirectory;
        try
        {
            Environment.CurrentDirectory = folder.File("");
            TrainingResult result = ReadmeExample.Run();

            Assert.HasCount(2, result.Steps);
            Assert.IsTrue(File.Exists("merged.onnx"));
        }
        finally
        {
            Environment.CurrentDirectory = before;
        }
    }

    [TestMethod]
    public void Documents_LinksAndPaths_LeadSomewhere()
    {
        List<string> broken = [];
        foreach (string file in Directory.EnumerateFiles(Path.Combine(Root, "docs"), "*.md", SearchOption.AllDirectories).Append(Path.Combine(Root, "README.md")))
        {
            string text = File.ReadAllText(file);
            IEnumerable<(string Path, string Base)> links = LinkPattern().Matches(text).Select(m => (m.Groups[1].Value, Path.GetDirectoryName(file)!));
            IEnumerable<(string Path, string Base)> paths = PathPattern().Matches(text).Select(m => (m.Groups[1].Value, Root));
            broken.AddRange(links.Concat(paths).Where(p => !Path.Exists(Path.Combine(p.Base, p.Path))).Select(p => $"{Path.GetRelativePath(Root, file)}: {p.Path}"));
        }

        Assert.IsEmpty(broken, string.Join('\n', broken));
    }

    [GeneratedRegex(@"\]\(([^)#:]+)(?:#[^)]*)?\)")]
    private static partial Regex LinkPattern();

    // Paths from the root in backquotes; those with a placeholder or a wildcard stand for many and are left out.
    [GeneratedRegex(@"`((?:src|tests|tools|demo|eng|docs|cuda-ops)/[\w./-]+)`")]
    private static partial Regex PathPattern();
}
