using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

/// <summary>Normalised models compute what the exported ones do, in ONNX Runtime.</summary>
[TestClass]
public sealed class NormalisationOnFixturesTests
{
    [TestMethod]
    [DynamicData(nameof(ExportCase.Models), typeof(ExportCase))]
    public void ForTraining_ExportedModel_KeepsOutputsAndNames(string path)
    {
        using ExportCase export = ExportCase.Open(path);
        using OnnxModel original = export.ReadModel();
        using OnnxModel normalised = export.ReadModel();
        string[] inputs = [.. original.Graph.RequiredInputs.Select(i => i.Name)];
        string[] outputs = [.. original.Graph.Outputs.Select(o => o.Name)];
        MultiplyInFullPrecision(original);
        NormalisationPipeline.ForTraining().Run(normalised);
        GraphVerifier.Verify(normalised);
        CollectionAssert.AreEqual(inputs, normalised.Graph.Inputs.Select(i => i.Name).ToArray());
        CollectionAssert.AreEqual(outputs, normalised.Graph.Outputs.Select(o => o.Name).ToArray());
        AssertNormalForm(normalised);

        // Without half precision kernels the runtime rounds at other places once Cast nodes that do nothing are gone.
        double tolerance = original.Graph.Initializers.Any(i => i.ElementType == DataType.Float16) ? 1e-3 : 1e-6;
        foreach (IReadOnlyDictionary<string, ITensor> feeds in export.Feeds(original))
        {
            AssertSameOutputs(original, normalised, feeds, tolerance);
        }
    }

    [TestMethod]
    [DataRow("models/aidreams260k.onnx")]
    [DataRow("models/stories260k.onnx")]
    [DataRow("models/genai_tiny_gpt2_fp32_past.onnx")]
    [DataRow("peft/bases/bert/model.onnx")]
    [DataRow("peft/bases/gpt2/model.onnx")]
    [DataRow("peft/bases/llama/model.unfolded.onnx")]
    public void ForTraining_ForeignModel_KeepsOutputs(string path)
    {
        using OnnxModel original = OnnxModelReader.Read(Fixtures.Require(path));
        using OnnxModel normalised = OnnxModelReader.Read(Fixtures.Require(path));
        NormalisationPipeline.ForTraining().Run(normalised);
        GraphVerifier.Verify(normalised);
        AssertSameOutputs(original, normalised, original.Graph.RequiredInputs.ToDictionary(i => i.Name, Feed), 1e-6);
    }

    // Training does; a model may leave it to the runtime to round activations to int8 (accuracy_level 0 or 4).
    private static void MultiplyInFullPrecision(OnnxModel model)
    {
        foreach (Node node in model.Graph.Nodes.Where(n => n.OpType == "MatMulNBits"))
        {
            node.SetAttribute("accuracy_level", 1L);
        }
    }

    private static void AssertSameOutputs(OnnxModel original, OnnxModel normalised, IReadOnlyDictionary<string, ITensor> feeds, double tolerance)
    {
        IReadOnlyDictionary<string, ITensor> expected = OrtRunner.Run(original, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL);
        IReadOnlyDictionary<string, ITensor> actual = OrtRunner.Run(normalised, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL);
        foreach ((string output, ITensor tensor) in expected)
        {
            TensorAssert.AreClose(tensor, actual[output], tolerance, output);
        }
    }

    // Token ids and positions count up, masks are open, the past is random.
    private static ITensor Feed(Value input)
    {
        long[] dims = [.. input.Shape!.Select(d => d.Value ?? d.Symbol switch
        {
            "batch" or "batch_size" => 2,
            "sequence" or "seq_len" => 5,
            "past_seq_len" => 3,
            "total_seq_len" => 8,
            _ => throw new AssertFailedException($"'{d}' of '{input.Name}' has no size"),
        })];
        int count = (int)dims.Aggregate(1L, (n, d) => n * d);
        int[] integers = [.. Enumerable.Range(0, count).Select(i => input.Name switch
        {
            "attention_mask" => 1,
            "token_type_ids" => 0,
            "position_ids" => 3 + (i % 5),
            _ => 1 + i,
        })];
        Random random = new(1);
        return input.ElementType switch
        {
            DataType.Int64 => DenseTensor.Of(dims, Array.ConvertAll(integers, i => (long)i)),
            DataType.Int32 => DenseTensor.Of(dims, integers),
            _ => DenseTensor.Of(dims, Array.ConvertAll(integers, _ => random.NextSingle() - 0.5f)),
        };
    }

    private static void AssertNormalForm(OnnxModel model)
    {
        Assert.IsGreaterThanOrEqualTo(OpsetUpgradePass.Target, model.Opset);
        Assert.IsEmpty(model.Functions);
        Assert.IsEmpty(model.Graph.AllNodes().Where(n => (n.Is("Constant") || n.Is("Identity")) && !n.Outputs[0].IsGraphOutput));
        Assert.IsEmpty(model.Graph.AllNodes().Where(n => n.Domain.Length == 0 && n.OpType != "Resize" && n.Attributes.ContainsKey("axes")));
    }
}
