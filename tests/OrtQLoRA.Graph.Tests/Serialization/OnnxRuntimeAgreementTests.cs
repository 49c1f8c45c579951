using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Serialization;

/// <summary>ONNX Runtime reads what the writer writes, data files included, and computes the same.</summary>
[TestClass]
public sealed class OnnxRuntimeAgreementTests
{
    [TestMethod]
    [DataRow("exports/dyn18_local_functions")]
    [DataRow("exports/dyn18_gpt2_external")]
    [DataRow("exports/genai_llama_int4_cpu")]
    [DataRow("exports/fp16_llama")]
    public void Write_WithExternalData_RunsAsTheOriginal(string fixture)
    {
        string path = Path.Combine(Fixtures.Require(fixture), "model.onnx");
        using OnnxModel model = OnnxModelReader.Read(path);
        using TemporaryFolder folder = new();
        string copy = folder.File("copy.onnx");
        OnnxModelWriter.Write(model, copy, new ExternalDataOptions { Threshold = 64, Alignment = 4096, FileName = "weights.bin" });
        using SafetensorsFile data = SafetensorsFile.Open(Path.Combine(Fixtures.Require(fixture), "data.safetensors"));
        const string prefix = "case0.input.";
        Dictionary<string, ITensor> feeds = data.Tensors.Where(t => t.Key.StartsWith(prefix, StringComparison.Ordinal)).ToDictionary(t => t.Key[prefix.Length..], t => t.Value);
        using InferenceSession original = new(path);
        using InferenceSession written = new(copy);
        IReadOnlyDictionary<string, ITensor> expected = OrtRunner.Run(original, feeds);
        IReadOnlyDictionary<string, ITensor> actual = OrtRunner.Run(written, feeds);
        Assert.IsNotEmpty(expected);
        foreach ((string name, ITensor tensor) in expected)
        {
            TensorAssert.AreEqual(tensor, actual[name], name);
        }
    }
}
