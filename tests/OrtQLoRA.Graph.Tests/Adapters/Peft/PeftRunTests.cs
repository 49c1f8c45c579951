using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters.Peft;

/// <summary>Adapters of real PEFT runs: files, names, logits beside the base and merged into it.</summary>
[TestClass]
public sealed class PeftRunTests
{
    public static IEnumerable<object[]> Runs => PeftRun.WithAdapter;

    // Dropout masks are PyTorch's own; gradients of several micro-batches are covered by the golden runs.
    public static IEnumerable<object[]> RunsWithGradients => PeftRun.WithAdapter
        .Where(r => !((string)r[0]).Contains("dropout", StringComparison.Ordinal) && !((string)r[0]).Contains("accum", StringComparison.Ordinal))
        .Concat(((string[])["llama/full_finetune", "gpt2/bitfit", "bert/bitfit"]).Select(r => new object[] { r }));

    [TestMethod]
    [DynamicData(nameof(Runs))]
    public void WriteOfRead_RecordedFolder_IsEqual(string name)
    {
        PeftRun run = PeftRun.Open(name);
        foreach (string folder in (string[])["start", "final"])
        {
            using TemporaryFolder temporary = new();
            using AdapterWeights adapter = PeftAdapterFolder.Read(Path.Combine(run.Folder, folder));

            PeftAdapterFolder.Write(temporary.Path, adapter);

            AssertSameFiles(run, folder, temporary.Path);
        }
    }

    [TestMethod]
    [DynamicData(nameof(Runs))]
    public void Insert_RecordedAdapter_HasItsNamesShapesAndConfig(string name)
    {
        PeftRun run = PeftRun.Open(name);
        foreach (string folder in (string[])["start", "final"])
        {
            using TemporaryFolder temporary = new();
            using AdapterWeights adapter = PeftAdapterFolder.Read(Path.Combine(run.Folder, folder));
            using OnnxModel model = run.Base();

            InsertedAdapter inserted = Insert(model, adapter);
            PeftAdapterFolder.Write(temporary.Path, inserted.InitialWeights());

            AssertSameFiles(run, folder, temporary.Path);
        }
    }

    [TestMethod]
    [DynamicData(nameof(Runs))]
    public void Insert_RecordedAdapter_GivesPeftsLogits(string name)
    {
        PeftRun run = PeftRun.Open(name);
        using SafetensorsFile probe = run.Probe();
        string[] files = run.BaseName == "llama" ? ["model.onnx", "model.unfolded.onnx"] : ["model.onnx"];
        foreach (string file in files)
        {
            foreach ((string folder, string logits) in ((string, string)[])[("start", probe.Tensors.ContainsKey("logits_start") ? "logits_start" : "logits_base"), ("final", "logits_adapter")])
            {
                using AdapterWeights adapter = PeftAdapterFolder.Read(Path.Combine(run.Folder, folder));
                using OnnxModel model = run.TrainingBase(file);

                InsertedAdapter inserted = Insert(model, adapter);

                ITensor actual = PeftRun.Logits(model, probe, inserted.Parameters.ToDictionary(p => p.Name, p => p.InitialValue));
                TensorAssert.AreClose(probe[logits], actual, 1e-5, $"{name} {folder} {file}");
            }
        }
    }

    [TestMethod]
    [DynamicData(nameof(Runs))]
    public void Merge_FinalAdapter_GivesPeftsMergedLogits(string name)
    {
        PeftRun run = PeftRun.Open(name);
        using SafetensorsFile probe = run.Probe();
        string expected = probe.Tensors.ContainsKey("logits_merged") ? "logits_merged" : "logits_adapter";
        string[] files = run.BaseName == "llama" ? ["model.onnx", "model.unfolded.onnx"] : ["model.onnx"];
        foreach (string file in files)
        {
            using AdapterWeights adapter = PeftAdapterFolder.Read(Path.Combine(run.Folder, "final"));
            using OnnxModel original = OnnxModelReader.Read(Fixtures.Require($"peft/bases/{run.BaseName}/{file}"));
            using OnnxModel merged = OnnxModelReader.Read(Fixtures.Require($"peft/bases/{run.BaseName}/{file}"));

            MergedModelExporter.Merge(merged, adapter, new MergeOptions { Format = run.IsQuantized ? new EetqFp16Format() : null });

            TensorAssert.AreClose(probe[expected], PeftRun.Logits(merged, probe), 1e-5, $"{name} {file}");
            AssertSameInterface(original, merged, mayAddNodes: name.EndsWith("no_base_bias", StringComparison.Ordinal));
        }
    }

    [TestMethod]
    [DataRow("llama/full_finetune", "full", "CAUSAL_LM")]
    [DataRow("gpt2/bitfit", "bitfit", "CAUSAL_LM")]
    [DataRow("bert/bitfit", "bitfit", "SEQ_CLS")]
    public void Insert_BaseWeights_HasTheRecordedNamesAndTrainsThem(string name, string methodName, string task)
    {
        PeftRun run = PeftRun.Open(name);
        IAdapterMethod method = AdapterRegistry.Default.Get(methodName);
        AdapterConfig config = method.ReadConfig(new JsonObject { ["task_type"] = task }, "test");
        using SafetensorsFile final = SafetensorsFile.Open(Path.Combine(run.Folder, "final", "changed.safetensors"));
        using SafetensorsFile probe = run.Probe();
        using OnnxModel model = run.Base();
        AdapterWeights changed = new(method, config, final.Tensors);

        AdapterInsertionPass pass = new(method, config) { InitialWeights = changed };
        pass.Run(model);
        using TemporaryFolder temporary = new();
        PeftAdapterFolder.Write(temporary.Path, pass.Inserted.InitialWeights());
        using AdapterWeights written = PeftAdapterFolder.Read(temporary.Path);
        using OnnxModel merged = run.Base();
        MergedModelExporter.Merge(merged, written);

        CollectionAssert.AreEquivalent(final.Tensors.Keys.ToArray(), written.Tensors.Keys.ToArray());
        foreach (string key in final.Tensors.Keys)
        {
            TensorAssert.AreEqual(final[key], written.Tensors[key], key);
        }

        string expected = probe.Tensors.Keys.Single(k => k is "logits_adapter" or "logits_final");
        TensorAssert.AreClose(probe[expected], PeftRun.Logits(model, probe, pass.Inserted.Parameters.ToDictionary(p => p.Name, p => p.InitialValue)), 1e-5);
        TensorAssert.AreClose(probe[expected], PeftRun.Logits(merged, probe), 1e-5);
    }

    [TestMethod]
    [DynamicData(nameof(RunsWithGradients))]
    public void FirstStep_RecordedRun_HasItsLossAndGradients(string name)
    {
        PeftRun run = PeftRun.Open(name);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(run.Folder, "run.json")));
        JsonElement root = document.RootElement;
        bool isClassification = run.BaseName == "bert";
        using AdapterWeights? start = Directory.Exists(Path.Combine(run.Folder, "start")) ? PeftAdapterFolder.Read(Path.Combine(run.Folder, "start")) : null;
        IAdapterMethod method = start?.Method ?? AdapterRegistry.Default.Get(name.EndsWith("bitfit", StringComparison.Ordinal) ? "bitfit" : "full");
        AdapterConfig config = start?.Config ?? method.ReadConfig(new JsonObject { ["task_type"] = isClassification ? "SEQ_CLS" : "CAUSAL_LM" }, "test");
        using SafetensorsFile expected = SafetensorsFile.Open(Path.Combine(run.Folder, "grads_step1.safetensors"));
        using TrainingGraph graph = new(
            run.Base(),
            method,
            config,
            isClassification ? CrossEntropyLoss.SequenceClassification : CrossEntropyLoss.CausalLanguageModeling,
            start,
            run.IsQuantized ? new EetqFp16Format() : null);

        JsonElement batch = root.GetProperty("batches")[0];
        (float loss, IReadOnlyDictionary<string, float[]> gradients) = graph.Run(Rows(batch, "input_ids"), Rows(batch, "labels"), Rows(batch, "attention_mask"));

        double expectedLoss = root.GetProperty("per_step")[0].GetProperty("loss").GetDouble();
        double norm = root.GetProperty("per_step")[0].GetProperty("grad_norm").GetDouble();
        Assert.AreEqual(expectedLoss, loss, 1e-4 * expectedLoss);
        foreach ((string key, ITensor gradient) in expected.Tensors)
        {
            // Softmax does not see a shift of all keys: those gradients are rounding noise.
            string trained = graph.Inserted.Plan.Duplicates.GetValueOrDefault(key, key);
            TensorAssert.AreClose(gradient.ToFloats(), gradients[trained], 1e-3, key, absolute: 1e-6 * norm);
        }
    }

    private static InsertedAdapter Insert(OnnxModel model, AdapterWeights adapter)
    {
        BasePreparation preparation = BasePreparation.Run(model, adapter.Method!, adapter.Config!, adapter, seed: 0);
        AdapterInsertionPass pass = new(adapter.Method!, adapter.Config!) { InitialWeights = adapter, IsTraining = false, Preparation = preparation };
        pass.Run(model);
        return pass.Inserted;
    }

    private static long[][] Rows(JsonElement batch, string name) => [.. batch.GetProperty(name).EnumerateArray()
        .Select(r => r.ValueKind == JsonValueKind.Array ? r.EnumerateArray().Select(v => v.GetInt64()).ToArray() : [r.GetInt64()])];

    private static void AssertSameFiles(PeftRun run, string folder, string written)
    {
        JsonObject config = (JsonObject)JsonNode.Parse(File.ReadAllText(Path.Combine(written, "adapter_config.json")))!;
        PeftRun.AssertSameConfig(run.Config(folder), config, $"{run.Name} {folder}");
        using SafetensorsFile expected = SafetensorsFile.Open(Path.Combine(run.Folder, folder, "adapter_model.safetensors"));
        using SafetensorsFile actual = SafetensorsFile.Open(Path.Combine(written, "adapter_model.safetensors"));
        CollectionAssert.AreEqual(
            expected.Tensors.Keys.Order(StringComparer.Ordinal).ToArray(), actual.Tensors.Keys.Order(StringComparer.Ordinal).ToArray(), $"{run.Name} {folder}");
        foreach (string key in expected.Tensors.Keys)
        {
            TensorAssert.AreEqual(expected[key], actual[key], key);
        }

        Assert.AreEqual("pt", actual.Metadata["format"]);
    }

    private static void AssertSameInterface(OnnxModel original, OnnxModel merged, bool mayAddNodes)
    {
        CollectionAssert.AreEqual(original.Graph.Inputs.Select(i => i.ToString()).ToArray(), merged.Graph.Inputs.Select(i => i.ToString()).ToArray());
        CollectionAssert.AreEqual(original.Graph.Outputs.Select(i => i.ToString()).ToArray(), merged.Graph.Outputs.Select(i => i.ToString()).ToArray());
        if (!mayAddNodes)
        {
            CollectionAssert.AreEqual(original.Graph.Nodes.Select(n => n.ToString()).ToArray(), merged.Graph.Nodes.Select(n => n.ToString()).ToArray());
            CollectionAssert.AreEqual(original.Graph.Initializers.Select(n => n.ToString()).ToArray(), merged.Graph.Initializers.Select(n => n.ToString()).ToArray());
        }
    }
}
