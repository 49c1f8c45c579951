using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
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
        NormalisationPipeline.ForTraining().Run(normalised);
        GraphVerifier.Verify(normalised);
        CollectionAssert.AreEqual(inputs, normalised.Graph.Inputs.Select(i => i.Name).ToArray());
        CollectionAssert.AreEqual(outputs, normalised.Graph.Outputs.Select(o => o.Name).ToArray());
        AssertNormalForm(normalised);
        foreach (IReadOnlyDictionary<string, ITensor> feeds in export.Feeds(original))
        {
            IReadOnlyDictionary<string, ITensor> expected = OrtRunner.Run(original, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL);
            IReadOnlyDictionary<string, ITensor> actual = OrtRunner.Run(normalised, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL);

            // Without half precision kernels the runtime rounds at other places once Cast nodes that do nothing are gone.
            double tolerance = original.Graph.Initializers.Any(i => i.ElementType == DataType.Float16) ? 1e-3 : 1e-6;
            foreach (string output in outputs)
            {
                TensorAssert.AreClose(expected[output], actual[output], tolerance, output);
            }
        }
    }

    private static void AssertNormalForm(OnnxModel model)
    {
        Assert.IsGreaterThanOrEqualTo(OpsetUpgradePass.Target, model.Opset);
        Assert.IsEmpty(model.Functions);
        Assert.IsEmpty(model.Graph.AllNodes().Where(n => (n.Is("Constant") || n.Is("Identity")) && !n.Outputs[0].IsGraphOutput));
        Assert.IsEmpty(model.Graph.AllNodes().Where(n => n.Domain.Length == 0 && n.OpType != "Resize" && n.Attributes.ContainsKey("axes")));
    }
}
