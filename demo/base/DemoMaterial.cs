using System.Text.Encodings.Web;
using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Tokenizers.Llama2c;

namespace OrtQLoRA.Demo.Base;

/// <summary>
/// Writes what the demo's base model is trained from, and what the demo fine-tunes it on: texts from the two grammars, a
/// vocabulary learnt from them, the untrained model. Everything follows from the seeds below.
/// </summary>
internal static class DemoMaterial
{
    private const int StoryCount = 16000;
    private const int StoryEvalCount = 200;
    private const int LogbookCount = 320;
    private const int LogbookEvalCount = 40;
    private const int StorySeed = 1;
    private const int LogbookSeed = 2;
    private const int VocabularySize = 768;

    // The vocabulary hears of the logbook too, or its abbreviations would be spelt letter by letter.
    private const int VocabularyStories = 2000;

    private static readonly JsonSerializerOptions Json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly LlamaModelOptions Model = new()
    {
        HiddenSize = 96,
        IntermediateSize = 256,
        LayerCount = 4,
        HeadCount = 6,
        KeyValueHeadCount = 3,
        VocabularySize = VocabularySize,
        ContextLength = 256,
        TieWordEmbeddings = true,
        Seed = 1,
    };

    /// <summary>Writes all files into a folder.</summary>
    public static void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        string[] stories = WriteTexts("harbour.grammar", StorySeed, StoryCount + StoryEvalCount);
        string[] logbook = WriteTexts("logbook.grammar", LogbookSeed, LogbookCount + LogbookEvalCount);
        WriteLines("harbour.jsonl", stories[..StoryCount]);
        WriteLines("harbour-eval.jsonl", stories[StoryCount..]);
        WriteLines("logbook.jsonl", logbook[..LogbookCount]);
        WriteLines("logbook-eval.jsonl", logbook[LogbookCount..]);

        using (FileStream vocabulary = File.Create(Path.Combine(folder, "tokenizer.bin")))
        {
            Llama2cVocabularyFile.Write(vocabulary, [.. Llama2cVocabularyTrainer.Train([.. stories[..VocabularyStories], .. logbook[..LogbookCount]], VocabularySize)]);
        }

        using OnnxModel model = LlamaModelBuilder.Build(Model);
        OnnxModelWriter.Write(model, Path.Combine(folder, "untrained.onnx"));

        void WriteLines(string name, string[] texts) =>
            File.WriteAllText(Path.Combine(folder, name), string.Concat(texts.Select(text => JsonSerializer.Serialize(new { text }, Json) + "\n")));
    }

    private static string[] WriteTexts(string grammarName, int seed, int count)
    {
        using Stream resource = typeof(DemoMaterial).Assembly.GetManifestResourceStream(typeof(DemoMaterial), grammarName)!;
        using StreamReader reader = new(resource);
        TextGrammar grammar = new(reader.ReadToEnd().Split('\n'));
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => grammar.Write(random))];
    }
}
