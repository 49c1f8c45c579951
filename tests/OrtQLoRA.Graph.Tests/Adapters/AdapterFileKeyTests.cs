using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Prompts;
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

        AdapterPlan plan = Plan(model, "lora", new LoraConfig { Rank = 2, TargetModules = ModuleSelector.OfNames("lm_head"), ModulesToSave = [saved], Bias = LoraBias.All });

        Assert.AreEqual("base_model.model.model.fc.bias", plan.Duplicates[key]);
    }

    private static AdapterPlan Plan(OnnxModel model, string method, AdapterConfig config) => AdapterRegistry.Default.Get(method).Plan(LinearFinder.Find(model), config);
}
