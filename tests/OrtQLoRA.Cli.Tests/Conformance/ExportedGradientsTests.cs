using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Conformance;

/// <summary>
/// <c>ortqlora gradients</c> on models that PyTorch's exporters wrote, against PyTorch's loss and gradients for the same batch.
/// </summary>
[TestClass]
public sealed class ExportedGradientsTests
{
    private const double LossTolerance = 1e-4;
    private const double GradientTolerance = 1e-3;

    /// <summary>Rounding of weights and activations to 11 bits.</summary>
    private const double HalfGradientTolerance = 5e-3;

    /// <summary>
    /// Gradients whose every element is below this are rounding noise of a gradient that is zero: softmax does not see the
    /// bias of a key projection.
    /// </summary>
    private const double Noise = 1e-6;

    public static IEnumerable<object[]> Models => Names().Select(n => new object[] { n });

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void Gradients_ExportedModel_EqualPyTorchs(string name)
    {
        string folder = Fixtures.Require($"exports/{name}");
        using JsonDocument facts = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        using TemporaryFolder temporary = new();
        string output = temporary.File("gradients.safetensors");

        string text = CommandLine.Succeed(
            "gradients",
            "--model", Path.Combine(folder, facts.RootElement.TryGetProperty("model_file", out JsonElement file) ? file.GetString()! : "model.onnx"),
            "--batch", Path.Combine(folder, "data.safetensors"), "--prefix", "case0.",
            "--loss", LossName(facts.RootElement.GetProperty("loss").GetProperty("kind").GetString()!),
            "--loss-output", LossOutput(facts.RootElement),
            "--output", output);

        using JsonDocument result = JsonDocument.Parse(text.TrimEnd().Split('\n')[^1]);
        double expectedLoss = facts.RootElement.GetProperty("loss_value").GetDouble();
        Assert.AreEqual(expectedLoss, result.RootElement.GetProperty("loss").GetDouble(), LossTolerance * Math.Abs(expectedLoss));
        Compare(Path.Combine(folder, "grads.safetensors"), output, IsHalf(facts.RootElement) ? HalfGradientTolerance : GradientTolerance);
    }

    [TestMethod]
    public void Gradients_WithRespectToOne_GivesThatOneOnly()
    {
        string folder = Fixtures.Require("exports/dyn18_mlp");
        using TemporaryFolder temporary = new();
        string output = temporary.File("gradients.safetensors");

        CommandLine.Succeed(
            "gradients", "--model", Path.Combine(folder, "model.onnx"), "--batch", Path.Combine(folder, "data.safetensors"), "--prefix", "case0.",
            "--loss", "mse", "--wrt", "layers.0.weight", "--output", output);

        using SafetensorsFile file = SafetensorsFile.Open(output);
        CollectionAssert.AreEqual(new[] { "layers.0.weight" }, file.Tensors.Keys.ToArray());
    }

    [TestMethod]
    public void Gradients_WrongNames_AreRefused()
    {
        string folder = Fixtures.Require("exports/dyn18_mlp");
        string[] common = ["gradients", "--model", Path.Combine(folder, "model.onnx"), "--batch", Path.Combine(folder, "data.safetensors"), "--loss", "mse", "--output", "/nowhere/g.safetensors"];

        StringAssert.Contains(CommandLine.Fail([.. common, "--prefix", "case9."]), "--prefix");
        StringAssert.Contains(CommandLine.Fail([.. common, "--prefix", "case0.", "--wrt", "nothing"]), "'nothing'");
        StringAssert.Contains(CommandLine.Fail([.. common, "--prefix", "case0.", "--loss-output", "nothing"]), "'nothing'");
    }

    private static void Compare(string expectedFile, string actualFile, double tolerance)
    {
        using SafetensorsFile expected = SafetensorsFile.Open(expectedFile);
        using SafetensorsFile actual = SafetensorsFile.Open(actualFile);
        foreach ((string key, ITensor tensor) in expected.Tensors)
        {
            Assert.IsTrue(actual.Tensors.ContainsKey(key), $"The gradient of '{key}' is missing.");
            CollectionAssert.AreEqual(tensor.Dims.ToArray(), actual.Tensors[key].Dims.ToArray(), key);
            float[] wanted = tensor.ToFloats();
            if (wanted.Any(v => Math.Abs(v) > Noise))
            {
                TensorAssert.AreClose(wanted, WithoutPaddingRow(key, wanted, actual.Tensors[key]), tolerance, key);
            }
        }
    }

    /// <summary>
    /// PyTorch's embeddings take no gradient in the row of <c>padding_idx</c>, a rule of the module that no ONNX graph
    /// holds: where its row 0 is zero, ours is left out.
    /// </summary>
    private static float[] WithoutPaddingRow(string key, float[] expected, ITensor actual)
    {
        float[] values = actual.ToFloats();
        int row = actual.Dims.Length == 2 ? (int)actual.Dims[1] : 0;
        if (key.Contains("word_embeddings", StringComparison.Ordinal) && expected.AsSpan(0, row).IndexOfAnyExcept(0f) < 0)
        {
            values.AsSpan(0, row).Clear();
        }

        return values;
    }

    private static bool IsHalf(JsonElement facts) => facts.GetProperty("dtype").GetString() == "float16";

    private static string LossName(string kind) => kind switch
    {
        "causal_lm" => "causal-lm",
        "cross_entropy" => "cross-entropy",
        _ => "mse",
    };

    private static string LossOutput(JsonElement facts)
    {
        if (facts.GetProperty("loss").TryGetProperty("output", out JsonElement named))
        {
            return named.GetString()!;
        }

        string[] outputs = [.. facts.GetProperty("outputs").EnumerateObject().Select(o => o.Name)];
        return outputs.Contains("logits") ? "logits" : outputs[0];
    }

    /// <summary>Every exported model with recorded gradients.</summary>
    private static IEnumerable<string> Names()
    {
        if (!Fixtures.IsAvailable)
        {
            return ["absent"];
        }

        return Directory.EnumerateDirectories(Path.Combine(Fixtures.Root, "exports"))
            .Select(d => Path.GetFileName(d))
            .Where(d => File.Exists(Path.Combine(Fixtures.Root, "exports", d, "grads.safetensors")))
            .Order(StringComparer.Ordinal);
    }
}
