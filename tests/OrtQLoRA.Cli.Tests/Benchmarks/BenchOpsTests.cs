using System.Text.Json;
using OrtQLoRA.CustomOps;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Benchmarks;

/// <summary>What <c>bench ops</c> reports, at sizes too small to mean anything.</summary>
[TestClass]
public sealed class BenchOpsTests
{
    private static readonly string[] Small =
    [
        "bench", "ops", "--shapes", "32x48,33x17", "--rows", "1", "3", "--batch", "1", "--length", "8", "--hidden", "32", "--mlp", "48", "--heads", "2",
        "--vocab", "40", "--rank", "2", "--trained", "100", "--seconds", "0", "--threads", "1",
    ];

    [TestMethod]
    public void BenchOps_AllOperators_HasEachBesideStockImplementations()
    {
        RequireLibrary();
        using TemporaryFolder folder = new();
        string file = folder.File("ops.json");

        string output = CommandLine.Succeed([.. Small, "--json", file]);

        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(file));
        JsonElement[] results = [.. document.RootElement.GetProperty("results").EnumerateArray()];
        string[] covered = [.. results.Where(r => r.GetProperty("native").GetBoolean()).SelectMany(r => r.GetProperty("operators").EnumerateArray()).Select(o => o.GetString()!)];
        CollectionAssert.AreEquivalent(OpCatalog.All.Select(o => o.Name).ToArray(), covered.Distinct().ToArray());
        foreach (string mode in new[] { "fp32", "bf16", "int16", "int8" })
        {
            Assert.IsTrue(document.RootElement.GetProperty("peak_gflops").TryGetProperty(mode, out _), mode);
        }

        CollectionAssert.AreEqual(
            new[]
            {
                "MatMul", "DequantizeLinear, Gemm", "MatMulNBits, level 0", "MatMulNBits, level 4",
                "MatMulInt8, int8", "MatMulInt8, bf16", "MatMulInt8, int16", "MatMulInt8, fp32",
            },
            Implementations(results, "MatMulInt8", "x [3, 33] W [33, 17]"));
        CollectionAssert.AreEqual(
            new[] { "MatMul", "DequantizeLinear, MatMul", "MatMulInt8Grad, int8", "MatMulInt8Grad, bf16", "MatMulInt8Grad, int16", "MatMulInt8Grad, fp32" },
            Implementations(results, "MatMulInt8Grad", "dy [1, 48] W^T [48, 32]"));
        foreach (JsonElement result in results)
        {
            Assert.IsTrue(result.GetProperty("runs").GetInt32() >= 6);
            Assert.AreEqual(
                result.GetProperty("operators").EnumerateArray().First().GetString()!.StartsWith("MatMul", StringComparison.Ordinal),
                result.GetProperty("gflops").ValueKind == JsonValueKind.Number);
            StringAssert.Contains(output, result.GetProperty("implementation").GetString());
        }
    }

    [TestMethod]
    public void BenchOps_Only_MeasuresThose()
    {
        RequireLibrary();

        string output = CommandLine.Succeed([.. Small, "--only", "SwiGlu", "AdamW"]);

        StringAssert.Contains(output, "SwiGlu");
        StringAssert.Contains(output, "AdamW, SquaredNorm");
        Assert.IsFalse(output.Contains("MatMulInt8", StringComparison.Ordinal));
    }

    [TestMethod]
    [DataRow("--only", "Relu", "'Relu'; the native operators are MatMulInt8")]
    [DataRow("--shapes", "2048", "'2048' in --shapes")]
    [DataRow("--rows", "0", "--rows is 0")]
    [DataRow("--heads", "3", "a multiple of 6")]
    [DataRow("--compute", "fp8", "fp8")]
    public void BenchOps_WrongOption_SaysWhatIsAllowed(string flag, string value, string expected)
    {
        RequireLibrary();

        StringAssert.Contains(CommandLine.Fail("bench", "ops", flag, value), expected);
    }

    private static void RequireLibrary()
    {
        if (!CustomOpLibrary.TryLoad(out _, out string? reason))
        {
            Assert.Inconclusive(reason);
        }
    }

    private static string[] Implementations(JsonElement[] results, string op, string shape) =>
    [
        .. results.Where(r => r.GetProperty("operators").EnumerateArray().First().GetString() == op && r.GetProperty("shape").GetString() == shape)
            .Select(r => r.GetProperty("implementation").GetString()!),
    ];
}
