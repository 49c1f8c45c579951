using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Linears;

/// <summary>Training runs on a normalised copy, exports edit the original: both must give modules the same names.</summary>
[TestClass]
public sealed class NormalisedDiscoveryTests
{
    public static IEnumerable<object[]> Models => Fixtures.Files(".onnx", "exports")
        .Concat(Fixtures.Files(".onnx", "models"))
        .Concat(Fixtures.Files(".onnx", "peft/bases"))
        .Where(p => !p.EndsWith("encoder_model.onnx", StringComparison.Ordinal))
        .Select(p => new object[] { p });

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void Find_NormalisedCopy_NamesTheSameModulesAndParameters(string file)
    {
        using OnnxModel original = OnnxModelReader.Read(Fixtures.Require(file));
        OnnxModel copy = ModelCloner.Clone(original);
        NormalisationPipeline.ForTraining().Run(copy);

        LinearSites before = LinearFinder.Find(original);
        LinearSites after = LinearFinder.Find(copy);

        // The copy may have more: what a fused node held inside. It must not lose or rename anything.
        string[] missing = [.. before.Modules.Select(Describe).Except(after.Modules.Select(Describe))];
        Assert.AreEqual("", string.Join("\n", missing));
        string[] parameters = [.. before.Parameters.Select(p => p.ToString()).Except(after.Parameters.Select(p => p.ToString()))];
        Assert.AreEqual("", string.Join("\n", parameters));
    }

    private static string Describe(LinearModule module) => $"{module} {module.Kind} {(module.Storage == WeightStorage.Dense ? "" : "quantized")} {(module.IsOutputHead ? "head" : "")}";
}
