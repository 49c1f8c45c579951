using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Export;

/// <summary>Every method that can be merged, from random values: the merged model computes what the adapter beside the base does.</summary>
[TestClass]
public sealed class MergedMethodTests
{
    private const string Bert = "ts13_distilbert_initializers_as_inputs";

    [TestMethod]
    [DataRow("ts17_gpt2", "lora", """{"use_dora":true,"init_lora_weights":false,"r":3,"target_modules":["c_attn","c_proj","wte"],"fan_in_fan_out":true}""", false)]
    [DataRow("ts17_gpt2", "lora", """{"use_dora":true,"init_lora_weights":false,"r":3,"target_modules":["c_attn","c_proj"]}""", true)]
    [DataRow("ts17_gpt2", "ia3", """{"init_ia3_weights":false,"target_modules":["c_attn","c_fc","mlp.c_proj"],"feedforward_modules":["mlp.c_proj"]}""", false)]
    [DataRow("ts17_gpt2", "ia3", """{"init_ia3_weights":false,"target_modules":["c_attn","c_fc","mlp.c_proj"],"feedforward_modules":["mlp.c_proj"]}""", true)]
    [DataRow("ts17_gpt2", "boft", """{"init_weights":false,"boft_block_size":4,"target_modules":["c_attn","c_fc"]}""", false)]
    [DataRow("ts17_gpt2", "boft", """{"init_weights":false,"boft_block_size":4,"target_modules":["c_attn","c_fc"]}""", true)]
    [DataRow("ts17_gpt2", "hra", """{"init_weights":false,"r":5,"target_modules":["c_attn","c_fc"]}""", false)]
    [DataRow("dyn18_llama_unoptimized", "hra", """{"init_weights":false,"r":4,"apply_GS":true,"target_modules":["q_proj","down_proj"]}""", false)]
    [DataRow("dyn18_llama_unoptimized", "hra", """{"r":1,"init_weights":false,"target_modules":["q_proj"]}""", true)]
    [DataRow("dyn18_llama_unoptimized", "oft", """{"init_weights":false,"oft_block_size":8,"target_modules":["q_proj","o_proj"]}""", true)]
    [DataRow("dyn18_llama_unoptimized", "oft", """{"init_weights":false,"oft_block_size":8,"coft":true,"eps":0.5,"block_share":true,"use_cayley_neumann":false,"target_modules":["q_proj","o_proj"]}""", false)]
    [DataRow("dyn18_llama_unoptimized", "oft", """{"init_weights":false,"r":2,"num_cayley_neumann_terms":6,"target_modules":["v_proj"]}""", false)]
    [DataRow("dyn18_llama_unoptimized", "loha", """{"init_weights":false,"r":3,"rank_pattern":{"q_proj":2}}""", true)]
    [DataRow("dyn18_llama_unoptimized", "lokr", """{"init_weights":false,"r":2,"decompose_both":true,"decompose_factor":4}""", true)]
    [DataRow("dyn18_llama_unoptimized", "vera", """{"init_weights":false,"r":6,"d_initial":0.5,"save_projection":false}""", true)]
    [DataRow("fp16_llama", "lora", """{"use_dora":true,"init_lora_weights":false,"r":3}""", false)]
    [DataRow("fp16_llama", "oft", """{"init_weights":false,"oft_block_size":4}""", false)]
    [DataRow(Bert, "ia3", """{"init_ia3_weights":false,"target_modules":["q_lin","lin1","lin2"],"feedforward_modules":["lin2"]}""", false)]
    [DataRow(Bert, "lora", """{"init_lora_weights":"pissa","r":3}""", false)]
    [DataRow(Bert, "lora", """{"init_lora_weights":"olora","r":3,"lora_alpha":3}""", true)]
    [DataRow("ts17_gpt2", "lora", """{"init_lora_weights":"loftq","r":3,"target_modules":["c_attn"],"loftq_config":{"loftq_iter":2}}""", true)]
    public void Merge_RandomAdapter_EqualsTheAdapterBeside(string name, string methodName, string json, bool isQuantized)
    {
        string folder = Fixtures.Require("exports/" + name);
        using JsonDocument description = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "case.json")));
        string file = Path.Combine(folder, description.RootElement.GetProperty("model_file").GetString()!);
        using SafetensorsFile data = SafetensorsFile.Open(Path.Combine(folder, "data.safetensors"));
        IAdapterMethod method = AdapterRegistry.Default.Get(methodName);
        AdapterConfig config = method.ReadConfig((JsonObject)JsonNode.Parse(json)!, "test");
        IWeightFormat? format = isQuantized ? new EetqInt8Format() : null;
        using OnnxModel merged = OnnxModelReader.Read(file);
        Dictionary<string, ITensor> feeds = merged.Graph.RequiredInputs.ToDictionary(i => i.Name, i => data["case0.input." + i.Name]);

        using OnnxModel beside = OnnxModelReader.Read(file);
        NormalisationPipeline.ForTraining().Run(beside);
        BasePreparation preparation = BasePreparation.Run(beside, method, config, null, seed: 3, format is null ? null : new BaseQuantization(format, WeightQuantizationPass.IsQuantizedByDefault));
        if (format is not null)
        {
            new WeightQuantizationPass(format).Run(beside);
        }

        AdapterInsertionPass pass = new(method, config) { IsTraining = false, Seed = 3, Preparation = preparation };
        pass.Run(beside);
        using AdapterWeights adapter = pass.Inserted.InitialWeights();
        MergedModelExporter.Merge(merged, adapter, new MergeOptions { Format = format });

        IReadOnlyDictionary<string, ITensor> expected = OrtRunner.Run(
            beside,
            feeds.Where(f => beside.Graph.TryGetValue(f.Key, out Value? input) && input.IsGraphInput)
                .Concat(pass.Inserted.Parameters.Select(p => KeyValuePair.Create(p.Name, p.InitialValue)))
                .ToDictionary(),
            format is null ? GraphOptimizationLevel.ORT_ENABLE_ALL : GraphOptimizationLevel.ORT_DISABLE_ALL);
        IReadOnlyDictionary<string, ITensor> actual = OrtRunner.Run(merged, feeds);
        double tolerance = description.RootElement.GetProperty("dtype").GetString() == "float16" ? 2e-2 : 1e-4;
        foreach ((string output, ITensor value) in expected)
        {
            TensorAssert.AreClose(value, actual[output], tolerance, $"{name}: {output}");
        }
    }

    /// <summary>What was merged is taken out again; a base that was quantized comes back dequantized.</summary>
    [TestMethod]
    [DataRow("ts17_gpt2", "lora", """{"init_lora_weights":false,"r":3,"target_modules":["c_attn","wte"],"lora_bias":true}""")]
    [DataRow("ts17_gpt2", "ia3", """{"init_ia3_weights":false,"target_modules":["c_attn","mlp.c_proj"],"feedforward_modules":["mlp.c_proj"]}""")]
    [DataRow("ts17_gpt2", "boft", """{"init_weights":false,"boft_block_size":4,"target_modules":["c_attn","c_fc"]}""")]
    [DataRow("ts17_gpt2", "hra", """{"init_weights":false,"r":5,"target_modules":["c_attn"]}""")]
    [DataRow("dyn18_llama_unoptimized", "hra", """{"init_weights":false,"r":4,"apply_GS":true,"target_modules":["q_proj"]}""")]
    [DataRow("dyn18_llama_unoptimized", "oft", """{"init_weights":false,"oft_block_size":8}""")]
    [DataRow("dyn18_llama_unoptimized", "oft", """{"init_weights":false,"oft_block_size":8,"use_cayley_neumann":false}""")]
    [DataRow("dyn18_llama_unoptimized", "loha", """{"init_weights":false,"r":3}""")]
    [DataRow("dyn18_llama_unoptimized", "lokr", """{"init_weights":false,"r":2,"decompose_both":true,"decompose_factor":4}""")]
    [DataRow("dyn18_llama_unoptimized", "vera", """{"init_weights":false,"r":6}""")]
    [DataRow("dyn18_llama_unoptimized", "adalora", """{"init_r":4,"target_r":2,"total_step":4,"tinit":0,"tfinal":0}""")]
    public void Unmerge_RandomAdapter_GivesTheBaseBack(string name, string methodName, string json)
    {
        (string file, AdapterWeights adapter) = RandomAdapter(name, methodName, json);
        using OnnxModel before = OnnxModelReader.Read(file);
        using OnnxModel after = OnnxModelReader.Read(file);

        MergedModelExporter.Merge(after, adapter);
        int changed = after.Graph.Initializers.Count(v => before.Graph.TryGetValue(v.Name, out Value? old) && !old.Initializer!.ToBytes().AsSpan().SequenceEqual(v.Initializer!.ToBytes()));
        MergedModelExporter.Merge(after, adapter, new MergeOptions { IsUnmerge = true });

        Assert.IsGreaterThan(0, changed);
        foreach (Value value in before.Graph.Initializers.Where(v => v.ElementType == DataType.Float))
        {
            TensorAssert.AreClose(value.Initializer!, after.Graph.GetValue(value.Name).Initializer!, 1e-5, value.Name);
        }
    }

    [TestMethod]
    [DataRow("lora", """{"r":3,"use_dora":true}""", "DoRA")]
    [DataRow("lora", """{"r":3,"init_lora_weights":"pissa"}""", "adapter convert")]
    [DataRow("lora", """{"r":3,"target_modules":["q_proj"],"trainable_token_indices":[1,2]}""", "replaced")]
    [DataRow("lora", """{"r":3,"target_modules":["q_proj"],"modules_to_save":["v_proj"]}""", "replaces")]
    [DataRow("ln-tuning", "{}", "replaces")]
    [DataRow("prompt-tuning", """{"num_virtual_tokens":2,"task_type":"CAUSAL_LM"}""", "Prompt tuning cannot be merged")]
    public void Unmerge_WhatTheMergedModelDoesNotTell_IsRefused(string methodName, string json, string reason)
    {
        (string file, AdapterWeights adapter) = RandomAdapter("dyn18_llama_unoptimized", methodName, json);
        using OnnxModel model = OnnxModelReader.Read(file);

        ConfigurationException refusal = Assert.ThrowsExactly<ConfigurationException>(() => MergedModelExporter.Merge(model, adapter, new MergeOptions { IsUnmerge = true }));

        StringAssert.Contains(refusal.Message, reason);
    }

    private static (string File, AdapterWeights Adapter) RandomAdapter(string name, string methodName, string json)
    {
        string folder = Fixtures.Require("exports/" + name);
        using JsonDocument description = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "case.json")));
        string file = Path.Combine(folder, description.RootElement.GetProperty("model_file").GetString()!);
        IAdapterMethod method = AdapterRegistry.Default.Get(methodName);
        AdapterConfig config = method.ReadConfig((JsonObject)JsonNode.Parse(json)!, "test");
        using OnnxModel model = OnnxModelReader.Read(file);
        NormalisationPipeline.ForTraining().Run(model);
        AdapterInsertionPass pass = new(method, config) { IsTraining = false, Seed = 3, Preparation = BasePreparation.Run(model, method, config, null, seed: 3) };
        pass.Run(model);
        AdapterWeights start = pass.Inserted.InitialWeights();

        // AdaLoRA's E starts at zero whatever is asked for.
        Dictionary<string, ITensor> tensors = start.Tensors.ToDictionary(t => t.Key, t => t.Value, StringComparer.Ordinal);
        foreach ((string key, ITensor tensor) in start.Tensors.Where(t => t.Key.EndsWith("lora_E", StringComparison.Ordinal)))
        {
            tensors[key] = DenseTensor.Of([.. tensor.Dims], [.. Enumerable.Range(1, (int)tensor.ElementCount()).Select(i => 0.5f * i)]);
        }

        return (file, new AdapterWeights(start.Method, start.Config, tensors) { Start = start.Start });
    }
}
