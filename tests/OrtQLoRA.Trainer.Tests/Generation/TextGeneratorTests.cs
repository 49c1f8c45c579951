using OrtQLoRA.Graph;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Generation;
using OrtQLoRA.Trainer.Tokenizers.Llama2c;

namespace OrtQLoRA.Trainer.Tests.Generation;

[TestClass]
public sealed class TextGeneratorTests
{
    private const string Model = "models/aidreams260k.onnx";

    [TestMethod]
    public void Generate_Greedy_TakesTheLikeliestTokenEachTime()
    {
        using TextGenerator generator = new(Fixtures.Require(Model));
        List<int> streamed = [];
        int[] prompt = [1, 300, 301];

        GenerationResult result = generator.Generate(prompt, new GenerationOptions { MaxNewTokens = 12 }, streamed.Add);

        CollectionAssert.AreEqual(result.Ids.ToArray(), streamed);
        Assert.AreEqual(FinishReason.MaxNewTokens, result.FinishReason);
        for (int i = 0; i < result.Ids.Count; i++)
        {
            float[] logits = generator.LastLogits([.. prompt, .. result.Ids.Take(i)]);
            Assert.AreEqual(Array.IndexOf(logits, logits.Max()), result.Ids[i], $"token {i}");
        }
    }

    [TestMethod]
    public void Generate_StreamedText_EqualsTheDecodedWhole()
    {
        Llama2cTokenizer tokenizer = Llama2cTokenizer.Load(Fixtures.Require("tokenizers/aidreams_tok512.bin"));
        using TextGenerator generator = new(Fixtures.Require(Model));
        int[] prompt = tokenizer.Encode("The light");
        StreamingDecoder decoder = new(tokenizer, prompt);
        string text = "";

        GenerationResult result = generator.Generate(prompt, new GenerationOptions { MaxNewTokens = 40 }, id => text += decoder.Append(id));
        text += decoder.Finish();

        Assert.AreEqual(tokenizer.Decode([.. prompt, .. result.Ids]), "The light" + text);
    }

    [TestMethod]
    public void Generate_Sampling_RepeatsWithItsSeedAlone()
    {
        using TextGenerator generator = new(Fixtures.Require(Model));
        GenerationOptions options = new() { MaxNewTokens = 24, Temperature = 1, TopK = 50, TopP = 0.95, Seed = 3 };

        int[] first = [.. generator.Generate([1], options).Ids];

        CollectionAssert.AreEqual(first, generator.Generate([1], options).Ids.ToArray());
        CollectionAssert.AreNotEqual(first, generator.Generate([1], options with { Seed = 4 }).Ids.ToArray());
    }

    [TestMethod]
    public void Generate_AtTheContextLength_Stops()
    {
        using TextGenerator generator = new(Fixtures.Require(Model)) { ContextLength = 8 };

        GenerationResult result = generator.Generate([1, 300, 301], new GenerationOptions());

        Assert.HasCount(5, result.Ids);
        Assert.AreEqual(FinishReason.ContextLength, result.FinishReason);
        Assert.ThrowsExactly<ConfigurationException>(() => generator.Generate(new int[9], new GenerationOptions()));
    }

    [TestMethod]
    public void Generate_StopId_EndsWithoutIt()
    {
        using TextGenerator generator = new(Fixtures.Require(Model));
        int[] free = [.. generator.Generate([1, 300], new GenerationOptions { MaxNewTokens = 10 }).Ids];

        GenerationResult stopped = generator.Generate([1, 300], new GenerationOptions { MaxNewTokens = 10, StopIds = [free[6]] });

        CollectionAssert.AreEqual(free[..Array.IndexOf(free, free[6])], stopped.Ids.ToArray());
        Assert.AreEqual(FinishReason.StopId, stopped.FinishReason);
    }

    [TestMethod]
    [DataRow("exports/ts17_gpt2/model.onnx")]
    [DataRow("exports/optimum_llama_with_past/model.onnx")]
    [DataRow("exports/optimum_gpt2_with_past/model.onnx")]
    [DataRow("exports/genai_llama_fp32_cpu/model.onnx")]
    [DataRow("exports/dyn23_llama_attention_op/model.onnx")]
    [DataRow("models/genai_tiny_gpt2_fp32_past.onnx")]
    [DataRow("models/genai_tiny_qwen35_fp16_gqa.onnx")]
    public void Generate_DecodersOfOtherExporters_FillsTheirInputs(string model)
    {
        using TextGenerator generator = new(Fixtures.Require(model));

        Assert.HasCount(4, generator.Generate([5, 6, 7], new GenerationOptions { MaxNewTokens = 4 }).Ids);
    }

    [TestMethod]
    [DataRow("exports/ts17_vit/model.onnx", "input_ids")]
    [DataRow("exports/ts17_bert_sequence_classifier/model.onnx", "logits")]
    [DataRow("tokenizers/aidreams_tok512.bin", "cannot open")]
    public void Open_NoDecoder_SaysWhatIsMissing(string model, string fault)
    {
        GenerationException e = Assert.ThrowsExactly<GenerationException>(() => new TextGenerator(Fixtures.Require(model)).Dispose());

        StringAssert.Contains(e.Message, fault);
    }

    [TestMethod]
    public void Generate_IdOutsideTheVocabulary_IsExplained()
    {
        using TextGenerator generator = new(Fixtures.Require(Model));

        GenerationException e = Assert.ThrowsExactly<GenerationException>(() => generator.Generate([1, 5000], new GenerationOptions()));

        StringAssert.Contains(e.Message, "5000");
    }
}
