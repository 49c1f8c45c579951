using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;

namespace OrtQLoRA.Graph.Tests.Adapters.Lora;

[TestClass]
public sealed class LoraConfigTests
{
    [TestMethod]
    public void FromJson_EveryFault_IsListedAtOnce()
    {
        JsonObject json = Json("""{"peft_type":"LORA","r":0,"lora_dropout":1.5,"bias":"some","lora_alpha":"x","use_dora":3,"layer_replication":[[0,4]],"target_modules":7,"rank_pattern":{"q":0.5}}""");

        ConfigurationException error = Assert.ThrowsExactly<ConfigurationException>(() => LoraConfig.FromJson(json, "file"));

        foreach (string key in (string[])["r is 0", "lora_dropout is 1.5", "bias is 'some'", "lora_alpha", "use_dora", "layer_replication", "target_modules", "rank_pattern"])
        {
            Assert.IsTrue(error.Faults.Any(f => f.Contains(key, StringComparison.Ordinal) && f.StartsWith("file", StringComparison.Ordinal)), key + "\n" + error.Message);
        }
    }

    [TestMethod]
    [DataRow("\"pissa_niter_x\"", "not supported")]
    [DataRow("\"lora_ga\"", "not supported")]
    [DataRow("3", "the name of a method")]
    public void FromJson_InitializationThatIsNotSupported_IsNamed(string value, string expected)
    {
        JsonObject json = Json($$"""{"peft_type":"LORA","target_modules":["q"],"init_lora_weights":{{value}}}""");

        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => LoraConfig.FromJson(json, "file")).Message, expected);
    }

    [TestMethod]
    public void ToJson_OfFromJson_KeepsUnknownKeysAndForms()
    {
        JsonObject json = Json("""{"peft_type":"LORA","r":4,"lora_alpha":8,"target_modules":["q"],"layers_to_transform":1,"layers_pattern":"h","future_key":{"a":[1]},"megatron_core":"megatron.core","use_dora":false}""");

        JsonObject written = LoraConfig.FromJson(json, "file").ToJson();

        foreach ((string key, JsonNode? value) in json)
        {
            Assert.AreEqual(value?.ToJsonString(), written[key]?.ToJsonString(), key);
        }

        CollectionAssert.AreEqual(written.Select(p => p.Key).Order(StringComparer.Ordinal).ToArray(), written.Select(p => p.Key).ToArray(), "PEFT sorts the keys.");
    }

    [TestMethod]
    public void ToJson_ChangedValue_WinsOverTheFile()
    {
        LoraConfig config = LoraConfig.FromJson(Json("""{"peft_type":"LORA","r":4,"target_modules":["q"],"layers_to_transform":1}"""), "file");
        config.Rank = 16;
        config.LayersToTransform = [2, 3];
        config.TargetModules = ModuleSelector.OfRegex(".*q");

        JsonObject written = config.ToJson();

        Assert.AreEqual("16", written["r"]!.ToJsonString());
        Assert.AreEqual("[2,3]", written["layers_to_transform"]!.ToJsonString());
        Assert.AreEqual("\".*q\"", written["target_modules"]!.ToJsonString());
    }

    [TestMethod]
    public void AllModulesToSave_ClassificationTask_AddsTheHeads()
    {
        LoraConfig config = new() { TaskType = "SEQ_CLS", ModulesToSave = ["norm", "score"] };

        CollectionAssert.AreEqual(new[] { "norm", "score", "classifier" }, config.AllModulesToSave.ToArray());
        Assert.IsTrue(config.TrainsWhole("model.classifier.dense"));
        Assert.IsTrue(config.TrainsWhole("layers.0.input_layernorm"), "PEFT compares endings without regard to dots.");
        Assert.IsFalse(config.TrainsWhole("layers.0.q_proj"));
    }

    [TestMethod]
    public void Validate_LoraBiasWithGaussianStart_IsRefused() =>
        StringAssert.Contains(
            Assert.ThrowsExactly<ConfigurationException>(() => new LoraConfig { HasLoraBias = true, Initialization = LoraInitialization.Gaussian }.Validate()).Message,
            "lora_bias");

    private static JsonObject Json(string text) => (JsonObject)JsonNode.Parse(text)!;
}
