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

    [GeneratedRegex(@"^\| `([A-Z]\w+)` \|", RegexOptions.Multiline)]
    private static partial Regex Row();
}
