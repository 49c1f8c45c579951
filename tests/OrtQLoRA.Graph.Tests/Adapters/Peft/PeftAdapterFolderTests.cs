using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters.Peft;

[TestClass]
public sealed class PeftAdapterFolderTests
{
    [TestMethod]
    public void Read_PathThatIsAbsent_SaysSo() =>
        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => PeftAdapterFolder.Read("no/such/adapter")).Message, "no/such/adapter");

    [TestMethod]
    [DataRow("", "JSON")]
    [DataRow("[1]", "no JSON object")]
    [DataRow("{\"r\": 4", "JSON")]
    [DataRow("{\"r\": 4}", "peft_type")]
    public void Read_DamagedConfiguration_NamesTheFile(string json, string expected)
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(Path.Combine(folder.Path, "adapter_config.json"), json);

        ModelFormatException error = Assert.ThrowsExactly<ModelFormatException>(() => PeftAdapterFolder.Read(folder.Path));

        StringAssert.Contains(error.Message, "adapter_config.json");
        StringAssert.Contains(error.Message, expected);
    }

    [TestMethod]
    public void Read_UnknownMethod_ListsTheKnown()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(Path.Combine(folder.Path, "adapter_config.json"), "{\"peft_type\": \"VBLORA\"}");

        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => PeftAdapterFolder.Read(folder.Path)).Message, "LORA");
    }

    [TestMethod]
    public void Read_PickledWeights_AreRefused()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(Path.Combine(folder.Path, "adapter_config.json"), "{\"peft_type\": \"LORA\", \"target_modules\": [\"q\"]}");
        File.WriteAllBytes(Path.Combine(folder.Path, "adapter_model.bin"), [0x80, 2]);

        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => PeftAdapterFolder.Read(folder.Path)).Message, "safe_serialization");
    }

    [TestMethod]
    public void ReadConfig_KeysOfALaterVersion_AreNamedWhereTheyAreSet()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(Path.Combine(folder.Path, "adapter_config.json"), """
            {"peft_type": "LORA", "target_modules": ["q"], "lora_twist": 2, "lora_fold": {"a": 1}, "lora_off": false, "lora_none": null, "lora_empty": [], "peft_version": "9.0"}
            """);

        AdapterConfig config = PeftAdapterFolder.ReadConfig(folder.Path).Config;

        CollectionAssert.AreEqual(new[] { "lora_fold", "lora_twist" }, config.UnknownKeys.ToArray());
        StringAssert.Contains(config.UnknownKeysWarning("here")!, "'here' has keys that this version does not know and does not apply: lora_fold, lora_twist");
    }

    [TestMethod]
    public void ReadConfig_EveryRecordedFolder_HasKnownKeysOnly()
    {
        string root = Fixtures.Require("peft");

        foreach (string folder in Directory.EnumerateFiles(root, "adapter_config.json", SearchOption.AllDirectories).Select(f => Path.GetDirectoryName(f)!))
        {
            AdapterConfig config = PeftAdapterFolder.ReadConfig(folder).Config;
            Assert.IsNull(config.UnknownKeysWarning(folder));
        }
    }
}
