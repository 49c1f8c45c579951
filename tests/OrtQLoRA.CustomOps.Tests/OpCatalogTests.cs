using System.Text.RegularExpressions;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.CustomOps.Tests;

[TestClass]
public sealed partial class OpCatalogTests
{
    [TestMethod]
    public void All_DocumentedOperators_AreTheSame()
    {
        string? root = Fixtures.RepositoryRoot();
        if (root is null)
        {
            Assert.Inconclusive("The tests do not run inside the repository.");
        }

        string text = File.ReadAllText(Path.Combine(root!, "docs", "native-ops.md"));
        string section = text[text.IndexOf("## Operators", StringComparison.Ordinal)..text.IndexOf("## Compute modes", StringComparison.Ordinal)];
        string[] documented = [.. Row().Matches(section).Select(m => m.Groups[1].Value)];

        CollectionAssert.AreEqual(OpCatalog.All.Select(o => o.Name).ToArray(), documented);
    }

    /// <summary>What the libraries register, read from their sources: so that a CUDA kernel is missed where none can be built.</summary>
    [TestMethod]
    [DataRow("register.cc")]
    [DataRow("register_cuda.cc")]
    public void All_RegisteredKernels_AreTheSame(string file)
    {
        string? root = Fixtures.RepositoryRoot();
        if (root is null)
        {
            Assert.Inconclusive("The tests do not run inside the repository.");
        }

        string text = File.ReadAllText(Path.Combine(root!, "cuda-ops", "src", file));
        string[] registered = [.. Registration().Matches(text).Select(m => m.Groups[1].Value).Distinct()];

        CollectionAssert.AreEquivalent(OpCatalog.All.Select(o => o.Name).ToArray(), registered);
    }

    [GeneratedRegex(@"Op<(?:cuda::)?(\w+)")]
    private static partial Regex Registration();

    [GeneratedRegex(@"^\| `([A-Z]\w+)` \|", RegexOptions.Multiline)]
    private static partial Regex Row();
}
