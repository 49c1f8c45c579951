using System.Text.Json;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters;

/// <summary>The first step of runs that libtorch computed: loss, and gradients of the LoRA matrices.</summary>
[TestClass]
public sealed class GoldenRunTests
{
    [TestMethod]
    [DataRow("aidreams_fp32_r8")]
    [DataRow("aidreams_eetq_r8")]
    [DataRow("stories_eetq_rslora_qv_accum")]
    public void FirstStep_RecordedRun_HasItsLossAndGradients(string name)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Fixtures.Require($"golden/{name}/golden.json")));
        JsonElement run = document.RootElement;
        LoraConfig config = new()
        {
            Rank = run.GetProperty("r").GetInt32(),
            Alpha = run.GetProperty("alpha").GetDouble(),
            UseRsLora = run.GetProperty("use_rslora").GetBoolean(),
            TargetModules = ModuleSelector.OfNames(run.GetProperty("targets").EnumerateArray().Select(t => t.GetString()!)),
        };
        using AdapterWeights start = PeftAdapterFolder.Read(Fixtures.Require($"golden/{name}/lora_start.safetensors"));
        using SafetensorsFile expected = SafetensorsFile.Open(Fixtures.Require($"golden/{name}/grads_step1.safetensors"));
        using TrainingGraph graph = new(
            OnnxModelReader.Read(Fixtures.Require(run.GetProperty("model").GetString()!)),
            new LoraMethod(),
            config,
            CrossEntropyLoss.CausalLanguageModeling,
            start,
            run.GetProperty("base_weights").GetString() == "eetq" ? new EetqInt8Format() : null);

        int batch = run.GetProperty("batch").GetInt32();
        int micro = run.GetProperty("accum").GetInt32();
        double loss = 0;
        Dictionary<string, float[]> sums = [];
        foreach (JsonElement element in run.GetProperty("batches").EnumerateArray().Take(micro))
        {
            (float part, IReadOnlyDictionary<string, float[]> gradients) = graph.Run(Rows(element, "input_ids", batch), Rows(element, "labels", batch));
            loss += part / micro;
            foreach ((string key, float[] gradient) in gradients)
            {
                float[] sum = sums.TryGetValue(key, out float[]? known) ? known : sums[key] = new float[gradient.Length];
                for (int i = 0; i < sum.Length; i++)
                {
                    sum[i] += gradient[i] / micro;
                }
            }
        }

        Assert.AreEqual(run.GetProperty("losses")[0].GetDouble(), loss, 1e-4 * loss);
        CollectionAssert.AreEquivalent(expected.Tensors.Keys.ToArray(), sums.Keys.ToArray());
        foreach ((string key, float[] gradient) in sums)
        {
            TensorAssert.AreClose(Graph.IR.TensorExtensions.ToFloats(expected[key]), gradient, 1e-4, key);
        }
    }

    private static long[][] Rows(JsonElement batch, string name, int rows)
    {
        long[] values = [.. batch.GetProperty(name).EnumerateArray().Select(v => v.GetInt64())];
        return [.. values.Chunk(values.Length / rows)];
    }
}
