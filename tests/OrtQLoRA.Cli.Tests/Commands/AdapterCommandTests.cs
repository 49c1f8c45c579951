using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Commands;

/// <summary><c>ortqlora adapter</c> against what PEFT recorded.</summary>
[TestClass]
public sealed class AdapterCommandTests
{
    private const string Combinations = "peft/llama/multi_adapter";

    [TestMethod]
    [DataRow("linear_ac")]
    [DataRow("linear_ac_negative")]
    [DataRow("cat_ab")]
    [DataRow("svd_ac")]
    [DataRow("svd_ab_default_rank")]
    [DataRow("ties_ac")]
    [DataRow("ties_ac_frequency")]
    [DataRow("ties_svd_ac")]
    [DataRow("magnitude_prune_ac")]
    [DataRow("dare_linear_ac", true)]
    [DataRow("dare_ties_ac", true)]
    public void Merge_RecordedCombination_IsPefts(string name, bool usesMasks = false)
    {
        string folder = Fixtures.Require(Combinations);
        using JsonDocument run = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "run.json")));
        JsonElement arguments = run.RootElement.GetProperty("combinations").GetProperty(name).GetProperty("arguments");
        using TemporaryFolder temporary = new();
        List<string> command = ["adapter", "merge", "--output", temporary.File("out"), "--seed", "777", "--adapters"];
        command.AddRange(arguments.GetProperty("adapters").EnumerateArray().Select(a => Path.Combine(folder, "parts", a.GetString()!)));
        command.AddRange(["--weights", string.Join(',', arguments.GetProperty("weights").EnumerateArray().Select(w => w.GetRawText()))]);
        command.AddRange(["--type", arguments.GetProperty("combination_type").GetString()!]);
        foreach ((string key, string flag) in ((string, string)[])[("svd_rank", "--svd-rank"), ("density", "--density"), ("majority_sign_method", "--majority-sign-method")])
        {
            if (arguments.TryGetProperty(key, out JsonElement value))
            {
                command.AddRange([flag, value.ToString()]);
            }
        }

        if (usesMasks)
        {
            command.AddRange(["--masks", Path.Combine(folder, name, "masks.safetensors")]);
        }

        CommandLine.Succeed([.. command]);

        using AdapterWeights expected = PeftAdapterFolder.Read(Path.Combine(folder, name));
        using AdapterWeights actual = PeftAdapterFolder.Read(temporary.File("out"));
        CollectionAssert.AreEquivalent(expected.Tensors.Keys.ToArray(), actual.Tensors.Keys.ToArray());
        LoraConfig config = (LoraConfig)actual.Config!;
        Assert.AreEqual(((LoraConfig)expected.Config!).Rank, config.Rank);
        Assert.AreEqual(((LoraConfig)expected.Config!).Alpha, config.Alpha);
        CollectionAssert.AreEquivalent(((LoraConfig)expected.Config!).TargetModules!.Names!.ToArray(), config.TargetModules!.Names!.ToArray());
        foreach (string keyA in expected.Tensors.Keys.Where(k => k.EndsWith("lora_A.weight", StringComparison.Ordinal)))
        {
            // Signs of singular vectors are arbitrary, so that products are compared.
            string keyB = keyA.Replace("lora_A", "lora_B", StringComparison.Ordinal);
            TensorAssert.AreClose<float>(Product(expected, keyA, keyB), Product(actual, keyA, keyB), 1e-5, keyA);
            if (!name.Contains("svd", StringComparison.Ordinal))
            {
                TensorAssert.AreClose(expected.Tensors[keyA], actual.Tensors[keyA], 1e-5, keyA);
                TensorAssert.AreClose(expected.Tensors[keyB], actual.Tensors[keyB], 1e-5, keyB);
            }
        }
    }

    [TestMethod]
    public void Merge_UnequalRanksOrNoDensity_IsRefused()
    {
        string parts = Path.Combine(Fixtures.Require(Combinations), "parts");
        string[] common = ["adapter", "merge", "--output", "/nowhere", "--adapters", Path.Combine(parts, "a")];

        StringAssert.Contains(CommandLine.Fail([.. common, Path.Combine(parts, "b"), "--type", "linear"]), "equal ranks");
        StringAssert.Contains(CommandLine.Fail([.. common, Path.Combine(parts, "c"), "--type", "ties"]), "density");
        StringAssert.Contains(CommandLine.Fail([.. common, Path.Combine(parts, "c"), "--weights", "1"]), "one finite number for each");
        StringAssert.Contains(CommandLine.Fail([.. common, Path.Combine(parts, "c"), "--type", "mean"]), "--type");
        StringAssert.Contains(CommandLine.Fail([.. common, Fixtures.Require("peft/llama/ia3/final")]), "only LoRA");
    }

    [TestMethod]
    [DataRow("pissa")]
    [DataRow("pissa_scaling2")]
    [DataRow("olora")]
    public void Convert_StartThatChangedTheBase_EqualsPeftsConversion(string name)
    {
        string folder = Fixtures.Require($"peft/llama/{name}");
        using TemporaryFolder temporary = new();

        CommandLine.Succeed("adapter", "convert", "--adapter", Path.Combine(folder, "final"), "--model", Fixtures.Require("peft/bases/llama/model.onnx"), "--output", temporary.File("out"));

        using AdapterWeights expected = PeftAdapterFolder.Read(Path.Combine(folder, "final_as_lora"));
        using AdapterWeights actual = PeftAdapterFolder.Read(temporary.File("out"));
        Assert.AreEqual(((LoraConfig)expected.Config!).Rank, ((LoraConfig)actual.Config!).Rank);
        Assert.AreEqual(((LoraConfig)expected.Config!).Alpha, ((LoraConfig)actual.Config!).Alpha);
        Assert.AreEqual(LoraInitialization.Default, ((LoraConfig)actual.Config!).Initialization);
        foreach (string keyA in expected.Tensors.Keys.Where(k => k.EndsWith("lora_A.weight", StringComparison.Ordinal)))
        {
            string keyB = keyA.Replace("lora_A", "lora_B", StringComparison.Ordinal);
            TensorAssert.AreClose<float>(Product(expected, keyA, keyB), Product(actual, keyA, keyB), 1e-4, keyA);
        }
    }

    [TestMethod]
    [DataRow("vera", "8")]
    [DataRow("lokr", "64")]
    public void Convert_OtherMethod_HasItsChangesAtSufficientRank(string name, string rank)
    {
        string folder = Fixtures.Require($"peft/llama/{name}");
        using TemporaryFolder temporary = new();

        string text = CommandLine.Succeed(
            "adapter", "convert", "--adapter", Path.Combine(folder, "final"), "--model", Fixtures.Require("peft/bases/llama/model.onnx"), "--rank", rank, "--output", temporary.File("out"));

        StringAssert.Contains(text, "0.00");
        Assert.AreEqual(0, JsonNode.Parse(File.ReadAllText(temporary.File("out/adapter_config.json")))!["lora_dropout"]!.GetValue<double>());
    }

    [TestMethod]
    public void InfoAndDiff_RecordedAdapters_TellMethodAndDifferences()
    {
        string parts = Path.Combine(Fixtures.Require(Combinations), "parts");

        StringAssert.Contains(CommandLine.Succeed("adapter", "info", Path.Combine(parts, "a")), "lora (LORA)");
        string diff = CommandLine.Succeed("adapter", "diff", Path.Combine(parts, "a"), Path.Combine(parts, "c"));
        StringAssert.Contains(diff, "lora_alpha: 8 | 4");
        StringAssert.Contains(diff, "tensors differ");
        StringAssert.Contains(CommandLine.Succeed("adapter", "diff", Path.Combine(parts, "a"), Path.Combine(parts, "a")), "All tensors are equal");
    }

    private static float[] Product(AdapterWeights adapter, string keyA, string keyB) =>
        Matrix.Of(adapter.Tensors[keyB]).Multiply(Matrix.Of(adapter.Tensors[keyA])).Values;
}
