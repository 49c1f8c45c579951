using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Prompts;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Adapters.TrainableTokens;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Tests.Adapters;

/// <summary>Keys under which PEFT writes what is neither an adapter's own matrix nor a plain saved module.</summary>
[TestClass]
public sealed class AdapterFileKeyTests
{
    [TestMethod]
    public void TrainableTokens_TiedHead_AreWrittenUnderItsNameToo()
    {
        using OnnxModel model = SmallDecoder.Build(isTied: true);

        AdapterPlan plan = Plan(model, "trainable-tokens", new TrainableTokensConfig { TokenIndices = [2, 5], TargetModules = ModuleSelector.OfNames("embed_tokens") });

        Assert.AreEqual("base_model.model.model.embed_tokens.trainable_tokens_delta", plan.Duplicates["base_model.model.lm_head.trainable_tokens_delta"]);
    }

    [TestMethod]
    public void PromptTuning_SavedModule_HasThePrefixWithoutWrapper()
    {
        using OnnxModel model = SmallDecoder.Build();

        AdapterPlan plan = Plan(model, "prompt-tuning", new PromptTuningConfig { VirtualTokens = 2, ModulesToSave = ["fc"] });

        CollectionAssert.AreEquivalent(new[] { "base_model.model.fc.weight", "base_model.model.fc.bias" }, plan.TrainedWeights.Select(w => w.FileKey).ToArray());
    }

    [TestMethod]
    [DataRow("fc", "base_model.model.model.fc.modules_to_save.bias")]
    [DataRow("model", "base_model.model.model.modules_to_save.default.fc.bias")]
    public void Lora_BiasOfASavedModule_IsListedAgainAsPeftDoes(string saved, string key)
    {
        using OnnxModel model = SmallDecoder.Build();

        AdapterPlan plan = Plan(model, "lora", new LoraConfig { Rank = 2, TargetModules = ModuleSelector.OfNames("lm_head"), ModulesToSave = [saved], Bias = TrainedBiases.All });

        Assert.AreEqual("base_model.model.model.fc.bias", plan.Duplicates[key]);
    }

    [TestMethod]
    [DataRow("lora", "lora_only")]
    [DataRow("adalora", "lora_only")]
    [DataRow("boft", "boft_only")]
    [DataRow("hra", "hra_only")]
    [DataRow("oft", "oft_only")]
    [DataRow("vera", "vera_only")]
    public void Bias_OfTheTargets_IsTrainedAndKeptUnderTheBaseLayer(string method, string word)
    {
        using OnnxModel model = SmallDecoder.Build();
        AdapterConfig config = AdapterRegistry.Default.Get(method).ReadConfig(
            new JsonObject { ["bias"] = word, ["target_modules"] = new JsonArray("fc"), ["r"] = method == "oft" ? 0 : 2, ["boft_block_size"] = 2, ["oft_block_size"] = method == "oft" ? 2 : null, ["total_step"] = 10 }, "test");

        AdapterPlan plan = Plan(model, method, config);

        CollectionAssert.AreEqual(new[] { "base_model.model.model.fc.base_layer.bias" }, plan.TrainedWeights.Select(w => w.FileKey).ToArray());
        Assert.AreEqual(word, (string?)plan.Config.ToJson()["bias"]);
    }

    [TestMethod]
    public void Bias_OfAnotherMethodsTargets_IsRefused() => StringAssert.Contains(
        Assert.ThrowsExactly<ConfigurationException>(() => AdapterRegistry.Default.Get("boft").ReadConfig(new JsonObject { ["bias"] = "lora_only", ["boft_block_size"] = 2 }, "test")).Message,
        "boft_only");

    private static AdapterPlan Plan(OnnxModel model, string method, AdapterConfig config) => AdapterRegistry.Default.Get(method).Plan(LinearFinder.Find(model), config);
}
