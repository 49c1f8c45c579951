using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Serialization;

[TestClass]
public sealed class ModelFolderTests
{
    [TestMethod]
    public void Resolve_FolderOfGenAi_TakesTheDecoderItNames()
    {
        using TemporaryFolder folder = new();
        folder.Write("genai_config.json", """{"model": {"decoder": {"filename": "text.onnx"}}}""");
        string text = folder.Write("text.onnx", "");
        folder.Write("model.onnx", "");
        Assert.AreEqual(text, ModelFolder.Resolve(folder.Path));
        Assert.IsNull(ModelFolder.Tokenizer(folder.Path));
        folder.Write("tokenizer.json", "{}");
        Assert.AreEqual(folder.Path, ModelFolder.Tokenizer(folder.Path));
    }

    [TestMethod]
    public void Resolve_FolderOfOptimum_PrefersTheMergedDecoder()
    {
        using TemporaryFolder folder = new();
        folder.Write("encoder_model.onnx", "");
        folder.Write("decoder_model.onnx", "");
        string merged = folder.Write("decoder_model_merged.onnx", "");
        Assert.AreEqual(merged, ModelFolder.Resolve(folder.Path));
    }

    [TestMethod]
    public void Resolve_File_StaysAsItIs() => Assert.AreEqual("nowhere/model.onnx", ModelFolder.Resolve("nowhere/model.onnx"));

    [TestMethod]
    [DataRow("""{"model": {"decoder": {"filename": "../text.onnx"}}}""", "no file of its folder")]
    [DataRow("""{"model": {}}""", "decoder, filename")]
    [DataRow("{", "decoder, filename")]
    public void Resolve_DamagedConfiguration_IsRefused(string config, string message)
    {
        using TemporaryFolder folder = new();
        folder.Write("genai_config.json", config);
        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => ModelFolder.Resolve(folder.Path)).Message, message);
    }

    [TestMethod]
    public void Resolve_NoneOrSeveralModels_IsRefused()
    {
        using TemporaryFolder folder = new();
        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => ModelFolder.Resolve(folder.Path)).Message, "holds no ONNX model");
        string only = folder.Write("a.onnx", "");
        Assert.AreEqual(only, ModelFolder.Resolve(folder.Path));
        folder.Write("b.onnx", "");
        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => ModelFolder.Resolve(folder.Path)).Message, "a.onnx, b.onnx");
    }
}
