using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.CustomOps.Tests;

/// <summary>
/// Every adapter method on an int8 base, with standard and with native operators, beside the same method on the base of floats that the
/// int8 weights stand for: one loss, one gradient.
/// </summary>
[TestClass]
public sealed class AdapterMethodTests
{
    private const int Tokens = 64;
    private const int LinearCount = 14;

    private static readonly LlamaModelOptions Size = new()
    {
        HiddenSize = 32,
        IntermediateSize = 48,
        LayerCount = 2,
        HeadCount = 4,
        VocabularySize = Tokens,
        InitializerRange = 0.2,
    };

    /// <summary>Method, its configuration, and how many fused LoRA linears it must reach.</summary>
    public static IEnumerable<object[]> Methods =>
    [
        ["lora", """{"r":4}""", LinearCount],
        ["lora", """{"r":4,"use_rslora":true,"rank_pattern":{"q_proj":2}}""", LinearCount],
        ["lora", """{"r":4,"lora_bias":true}""", LinearCount],
        ["lora", """{"r":4,"use_dora":true}""", LinearCount],
        ["lora", """{"r":4,"target_modules":["q_proj","embed_tokens"]}""", 2],
        ["lora", """{"r":4,"target_modules":["q_proj"],"modules_to_save":["v_proj"],"trainable_token_indices":[1,5]}""", 2],
        ["adalora", """{"init_r":4,"target_r":2,"target_modules":["q_proj","down_proj"],"tinit":0,"tfinal":0,"total_step":4}""", 4],
        ["ia3", """{"target_modules":["k_proj","v_proj","down_proj"],"feedforward_modules":["down_proj"]}""", 0],
        ["vera", """{"r":4}""", 0],
        ["loha", """{"r":3}""", 0],
        ["lokr", """{"r":2,"decompose_both":true,"decompose_factor":4}""", 0],
        ["oft", """{"oft_block_size":8}""", 0],
        ["boft", """{"boft_block_size":4}""", 0],
        ["hra", """{"r":4}""", 0],
        ["ln-tuning", "{}", 0],
        ["full", """{"parameters":["v_proj","norm.weight","lm_head"]}""", 0],
        ["bitfit", """{"parameters":["input_layernorm"]}""", 0],
        ["trainable-tokens", """{"token_indices":[1,2,30]}""", 0],
        ["prompt-tuning", """{"num_virtual_tokens":3}""", 0],
        ["prefix-tuning", """{"num_virtual_tokens":3}""", 0],
    ];

    [TestMethod]
    [DynamicData(nameof(Methods))]
    public void TrainStep_Int8Base_IsThatOfTheFloatsItStandsFor(string method, string json, int fused)
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();
        using OnnxModel model = LlamaModelBuilder.Build(Size);
        using OnnxModel dequantized = Dequantized(model, method, json);
        using TrainingGraph floats = Build(dequantized, method, json, isQuantized: false, null);
        using TrainingGraph portable = Build(model, method, json, isQuantized: true, null);
        using TrainingGraph native = Build(model, method, json, isQuantized: true, Int8Compute.Fp32);
        using SessionTrainingEngine expected = new(floats.Artifacts);

        foreach ((string name, TrainingGraph graph) in (IEnumerable<(string, TrainingGraph)>)[("portable", portable), ("native", native)])
        {
            using SessionTrainingEngine actual = new(graph.Artifacts, new EngineOptions { CustomOps = name == "native" ? library : null });
            Compare(expected, actual, Batch(floats.Artifacts), $"{method} {json} {name}");
        }

        OnnxGraph training = native.Artifacts.TrainingModel.Graph;
        Assert.IsFalse(training.Nodes.Any(n => n.Is("DequantizeLinear")), "products with int8 weights left on standard operators");
        Assert.AreEqual(fused, training.Nodes.Count(n => n.Is(OpCatalog.LoraLinear, OpCatalog.Domain)), "fused LoRA linears");
    }

    private static void Compare(SessionTrainingEngine expected, SessionTrainingEngine actual, Dictionary<string, DenseTensor> batch, string message)
    {
        foreach (TrainableParameter parameter in expected.Parameters)
        {
            // Zeros would hide gradients of what they are multiplied by, and pairs of equal reflections cancel.
            DenseTensor start = Disturbed(parameter.InitialValue);
            expected.SetParameter(parameter.Name, start);
            actual.SetParameter(parameter.Name, start);
        }

        expected.LazyResetGrad();
        double loss = expected.TrainStep(batch);
        Assert.AreEqual(loss, actual.TrainStep(batch), 1e-5 * loss, message);
        Assert.AreEqual(expected.EvalStep(batch).Loss, actual.EvalStep(batch).Loss, 1e-5 * loss, message);
        TensorAssert.AreClose(Gradient(expected), Gradient(actual), 1e-4, message);
    }

    private static float[] Gradient(SessionTrainingEngine engine) => [.. engine.Parameters.SelectMany(p => engine.GetGradient(p.Name).ToFloats())];

    private static OnnxModel Dequantized(OnnxModel model, string method, string json)
    {
        OnnxModel result = ModelCloner.Clone(model);
        EetqInt8Format format = new();
        Func<LinearModule, bool> isQuantized = QuantizedModules.Beside(Config(method, json));
        foreach (LinearModule module in LinearFinder.Find(result).Modules.Where(isQuantized))
        {
            LinearSite site = module.Sites[0];
            float[] values = new float[module.InFeatures * module.OutFeatures];
            IQuantizedWeight quantized = format.Quantize(WeightMatrix.Of(site));
            if (site.IsOutByIn)
            {
                quantized.DequantizeColumns(0, values);
            }
            else
            {
                quantized.DequantizeRows(0, values);
            }

            result.Graph.SetInitializer(site.Weight, DenseTensor.Of([.. site.Content.Dims], values));
        }

        return result;
    }

    private static AdapterConfig Config(string method, string json)
    {
        JsonObject keys = (JsonObject)JsonNode.Parse(json)!;
        keys["task_type"] = "CAUSAL_LM";
        return AdapterRegistry.Default.Get(method).ReadConfig(keys, "test");
    }

    private static TrainingGraph Build(OnnxModel model, string method, string json, bool isQuantized, Int8Compute? compute) => TrainingGraphBuilder.Build(model, new TrainingGraphOptions
    {
        Method = AdapterRegistry.Default.Get(method),
        Adapter = Config(method, json),
        Loss = CrossEntropyLoss.CausalLanguageModeling,
        LossOutput = "logits",
        WeightFormat = isQuantized ? new EetqInt8Format() : null,
        QuantizedModules = QuantizedModules.Beside(Config(method, json)),
        NativeOperators = compute,
        Optimizer = new AdamWOptimizer(),
        Seed = 3,
    });

    private static Dictionary<string, DenseTensor> Batch(TrainingArtifacts artifacts)
    {
        const int Rows = 2;
        const int Length = 12;
        long[] ids = [.. Enumerable.Range(0, Rows * Length).Select(i => (long)(i * 29 % Tokens))];
        return artifacts.UserInputs.ToDictionary(
            name => name,
            name => DenseTensor.Of([Rows, Length], name.Contains("mask", StringComparison.Ordinal) ? [.. ids.Select(_ => 1L)]
                : name.Contains("position", StringComparison.Ordinal) ? [.. ids.Select((_, i) => (long)(i % Length))]
                : ids));
    }

    private static DenseTensor Disturbed(ITensor tensor)
    {
        float[] values = tensor.ToFloats();
        for (int i = 0; i < values.Length; i++)
        {
            values[i] += 0.05f * MathF.Sin((i * 0.7f) + values.Length);
        }

        return DenseTensor.Of([.. tensor.Dims], values);
    }
}
