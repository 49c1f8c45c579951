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
}
