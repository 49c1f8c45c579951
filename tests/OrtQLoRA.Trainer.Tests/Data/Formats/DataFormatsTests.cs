using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using Parquet.Serialization;

namespace OrtQLoRA.Trainer.Tests.Data.Formats;

[TestClass]
public sealed class DataFormatsTests
{
    private static readonly DataRequirements Causal = new() { Task = TrainingTask.CausalLm, VocabularySize = 27, ClassCount = 27, Tokenizer = new LetterTokenizer() };
    private static readonly DataRequirements Classes = Causal with { Task = TrainingTask.SequenceClassification, ClassCount = 3 };

    private const string Json = "{\"text\": \"ab\", \"label\": 1}\n{\"text\": \"c\", \"label\": 2}\n";

    [TestMethod]
    [DataRow("d.jsonl", Json)]
    [DataRow("d.json", Json, DisplayName = "lines under .json")]
    [DataRow("d.json", "[{\"text\": \"ab\", \"label\": 1},\n {\"text\": \"c\", \"label\": 2}]")]
    [DataRow("d.json", "{\"version\": 1, \"data\": [{\"text\": \"ab\", \"label\": 1}, {\"text\": \"c\", \"label\": 2}]}")]
    [DataRow("d.csv", "text,label,other\nab,1,x\nc,2,\n")]
    [DataRow("d.csv", "\uFEFFtext,label\r\n\"ab\",1\r\n\"c\",2\r\n")]
    [DataRow("d.tsv", "label\ttext\n1\tab\n2\tc\n")]
    public void Read_EveryTextFormat_GivesTheSameExamples(string name, string content)
    {
        using TemporaryFolder folder = new();
        IReadOnlyList<TrainingExample> examples = DataFile.Read(folder.Write(name, content), Classes);

        Assert.HasCount(2, examples);
        CollectionAssert.AreEqual(new long[] { 0, 1 }, examples[0].InputIds);
        CollectionAssert.AreEqual(new long?[] { 1, 2 }, examples.Select(e => e.Label).ToArray());
    }

    [TestMethod]
    public void Read_Parquet_TakesTextsNumbersAndLists()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("d.parquet");
        using (FileStream stream = File.Create(path))
        {
            ParquetSerializer.SerializeAsync([new Row { Text = "ab", Label = 1, Ids = [3, 4] }, new Row { Text = "c", Label = 2, Ids = [5] }], stream).GetAwaiter().GetResult();
        }

        IReadOnlyList<TrainingExample> texts = DataFile.Read(path, Classes with { Columns = new Dictionary<string, string> { ["text"] = "Text", ["label"] = "Label" } });
        IReadOnlyList<TrainingExample> ids = DataFile.Read(path, Classes with { Columns = new Dictionary<string, string> { ["input_ids"] = "Ids", ["label"] = "Label" } });

        CollectionAssert.AreEqual(new long[] { 0, 1 }, texts[0].InputIds);
        Assert.AreEqual(2, texts[1].Label);
        CollectionAssert.AreEqual(new long[] { 3, 4 }, ids[0].InputIds);
    }

    [TestMethod]
    public void Read_DamagedParquet_SaysSo()
    {
        using TemporaryFolder folder = new();
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => DataFile.Read(folder.Write("d.parquet", "PAR1 nothing"), Causal)).Message, "cannot be read as Parquet");
    }

    [TestMethod]
    public void Read_FolderAndPattern_TakeFilesInOrder()
    {
        using TemporaryFolder folder = new();
        Directory.CreateDirectory(folder.File("data/deep"));
        folder.Write("data/b.jsonl", "{\"text\": \"b\"}\n");
        folder.Write("data/a.csv", "text\na\n");
        folder.Write("data/deep/c.jsonl", "{\"text\": \"c\"}\n");
        folder.Write("data/readme.rst", "no data");

        Assert.AreEqual("abc", Letters(folder.File("data")));
        Assert.AreEqual("b", Letters(folder.File("data/*.jsonl")));
        Assert.AreEqual("bc", Letters(folder.File("data/**/*.jsonl")));
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => DataFile.Read(folder.File("data/*.parquet"), Causal)).Message, "No file matches");

        string Letters(string path) => string.Concat(DataFile.Read(path, Causal).Select(e => (char)('a' + e.InputIds[0])));
    }

    [TestMethod]
    [DataRow("d.jsonl", "{\"text\": \"a\"}\n{\"text\": }\n", ":2: column 10: ", "no JSON object")]
    [DataRow("d.jsonl", "{\"text\": \"a\"}\n[1]\n", ":2: column 1: ", "a JSON array")]
    [DataRow("d.json", "[{\"text\": \"a\"},\n{\"text\" 1}]", ":2: column 9: ", "no JSON")]
    [DataRow("d.csv", "text,label\na,1\nb,1,2\n", ":3: column 6: ", "has 3 cells; expected 2")]
    [DataRow("d.csv", "text,label\na,1\nb\"c,1\n", ":3: column 1: ", "quotation mark")]
    [DataRow("d.csv", "body,label\na,1\n", ":2: ", "its keys are body, label")]
    public void Read_MalformedPlace_NamesLineColumnAndWhatWasExpected(string name, string content, string place, string expected)
    {
        using TemporaryFolder folder = new();
        string path = folder.Write(name, content);

        string message = Assert.ThrowsExactly<TrainingDataException>(() => DataFile.Read(path, Causal)).Message;

        StringAssert.StartsWith(message, path + place);
        StringAssert.Contains(message, expected);
    }

    [TestMethod]
    public void Read_StreamingATable_IsRefused()
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("d.csv", "text\nab\n");

        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => DataFile.Read(path, Causal with { Streaming = StreamingMode.Always })).Message, "--streaming auto");
    }

    [TestMethod]
    [DataRow(StreamingMode.Never)]
    [DataRow(StreamingMode.Always)]
    public void Read_InvalidUtf8_NamesLineAndColumn(StreamingMode streaming)
    {
        using TemporaryFolder folder = new();
        string path = folder.File("d.jsonl");
        File.WriteAllBytes(path, [.. "{\"text\": \"a\"}\n{\"text\": \""u8, 0xFF, .. "\"}\n"u8]);

        StringAssert.StartsWith(Assert.ThrowsExactly<TrainingDataException>(() => DataFile.Read(path, Causal with { Streaming = streaming })).Message, path + ":2: column 11: the line is not UTF-8 (byte 0xFF)");
    }

    [TestMethod]
    [DataRow(StreamingMode.Never)]
    [DataRow(StreamingMode.Always)]
    public void Read_SkippingBadLines_KeepsTheOthersAndReports(StreamingMode streaming)
    {
        using TemporaryFolder folder = new();
        List<string> warnings = [];
        string path = folder.Write("d.jsonl", "{\"text\": \"a\"}\nnonsense\n{\"body\": \"b\"}\n\n{\"text\": \"c\"}\n");

        IReadOnlyList<TrainingExample> examples = DataFile.Read(path, Causal with { OnBadLine = BadLinePolicy.Skip, Streaming = streaming, Warn = warnings.Add });

        CollectionAssert.AreEqual(new long[] { 1, 5 }, examples.Select(e => e.Source.Line).ToArray());
        StringAssert.StartsWith(warnings.Single(), "2 bad lines are left out");
        StringAssert.Contains(warnings.Single(), path + ":2: column 2");
    }

    [TestMethod]
    [DataRow(BadLinePolicy.Stop)]
    [DataRow(BadLinePolicy.Skip)]
    public void Read_Streamed_EqualsReadAtOnceInAnyOrder(BadLinePolicy policy)
    {
        using TemporaryFolder folder = new();
        IEnumerable<string> Lines(int from, int count) => Enumerable.Range(from, count)
            .Select(i => (i % 7 == 0 ? "\n" : "") + (policy == BadLinePolicy.Skip && i % 11 == 0 ? "bad\n" : "") + $"{{\"input_ids\": [{i % 27}, {i / 27}]}}");
        folder.Write("data/a.jsonl", string.Join("\r\n", Lines(0, 150)));
        folder.Write("data/b.jsonl", string.Join('\n', Lines(150, 333)) + "\n");
        DataRequirements requirements = Causal with { OnBadLine = policy };

        IReadOnlyList<TrainingExample> all = DataFile.Read(folder.File("data"), requirements with { Streaming = StreamingMode.Never });
        IReadOnlyList<TrainingExample> streamed = DataFile.Read(folder.File("data"), requirements with { Streaming = StreamingMode.Always });

        Assert.HasCount(483, streamed);
        int[] order = [.. Enumerable.Range(0, 483)];
        new SplitMix64(3).Shuffle(order.AsSpan());
        foreach (int i in order.Concat(Enumerable.Range(0, 483)))
        {
            Assert.AreEqual(all[i].Source, streamed[i].Source);
            CollectionAssert.AreEqual(all[i].InputIds, streamed[i].InputIds);
        }

        ((IDisposable)streamed).Dispose();
    }

    [TestMethod]
    public void Read_PromptAndCompletion_CountsTheCompletionOnly()
    {
        TrainingExample example = Read(Causal, "{\"prompt\": \"abc\", \"completion\": \"de\"}");

        CollectionAssert.AreEqual(new long[] { 0, 1, 2, 3, 4, 26 }, example.InputIds);
        CollectionAssert.AreEqual(new long[] { -100, -100, -100, 3, 4, 26 }, example.Labels);
        Assert.IsNull(Read(Causal with { LossOn = LossTokens.All }, "{\"prompt\": \"abc\", \"completion\": \"de\"}").Labels);
    }

    [TestMethod]
    public void Read_Conversation_CountsTheAssistantsTurns()
    {
        DataRequirements chat = Causal with { ChatTemplate = Chat.ChatTemplateTests.Parse("{% for m in messages %}{{ 'u' if m.role == 'user' else 'z' }}{{ m.content }}{% endfor %}{% if add_generation_prompt %}z{% endif %}") };
        const string Line = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"bc\"}, {\"role\": \"user\", \"content\": \"d\"}, {\"role\": \"assistant\", \"content\": \"e\"}]}";

        CollectionAssert.AreEqual(new long[] { 20, 0, 25, 1, 2, 20, 3, 25, 4 }, Read(chat, Line).InputIds);
        CollectionAssert.AreEqual(new long[] { -100, -100, -100, 1, 2, -100, -100, -100, 4 }, Read(chat, Line).Labels);
        CollectionAssert.AreEqual(new long[] { -100, -100, -100, -100, -100, -100, -100, -100, 4 }, Read(chat with { LossOn = LossTokens.Completion }, Line).Labels);
        Assert.IsNull(Read(chat with { LossOn = LossTokens.All }, Line).Labels);
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => Read(Causal, Line)).Message, "--chat-template");
    }

    [TestMethod]
    public void Read_MappedColumns_AreTakenAndMissingOnesListed()
    {
        DataRequirements mapped = Classes with { Columns = new Dictionary<string, string> { ["text"] = "body", ["label"] = "kind" }, ClassNames = ["low", "mid", "high"] };

        Assert.AreEqual(2, Read(mapped, "{\"body\": \"a\", \"kind\": \"High\"}").Label);
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => Read(mapped, "{\"text\": \"a\", \"kind\": 0}")).Message, "no column \"body\", which --columns gives for text; the columns are text, kind");
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => Read(mapped, "{\"body\": \"a\", \"kind\": \"none\"}")).Message, "the classes are low, mid, high");
    }

    [TestMethod]
    public void Read_TooLong_IsCutDroppedOrRefused()
    {
        DataRequirements four = Causal with { MaxLength = 4 };
        const string Line = "{\"text\": \"abcdef\"}\n{\"text\": \"ab\"}";

        CollectionAssert.AreEqual(new long[] { 0, 1, 2, 3 }, Read(four, Line).InputIds);
        CollectionAssert.AreEqual(new long[] { 2, 3, 4, 5 }, Read(four with { Truncation = TruncationPolicy.Left }, Line).InputIds);
        CollectionAssert.AreEqual(new long[] { 0, 1 }, Read(four with { Truncation = TruncationPolicy.Drop }, Line).InputIds);
        StringAssert.Contains(Assert.Throws<TrainingDataException>(() => Read(four with { Truncation = TruncationPolicy.Error }, Line), "error").Message, "6 tokens, more than --max-length 4");
        StringAssert.Contains(Assert.Throws<TrainingDataException>(() => Read(Causal with { ContextLength = 5 }, Line), "context").Message, "the model's context holds 5");
    }

    [TestMethod]
    public void Split_HoldsBackAndRefusesEmptyParts()
    {
        using TemporaryFolder folder = new();
        IReadOnlyList<TrainingExample> all = DataFile.Read(folder.Write("d.jsonl", string.Concat(Enumerable.Range(0, 20).Select(i => $"{{\"input_ids\": [{i}]}}\n"))), Causal);

        (IReadOnlyList<TrainingExample> train, IReadOnlyList<TrainingExample> eval) = ExampleSubset.Split(all, 0.2, 42);

        Assert.HasCount(4, eval);
        CollectionAssert.AreEquivalent(Enumerable.Range(0, 20).Select(i => (long)i).ToArray(), train.Concat(eval).Select(e => e.InputIds[0]).ToArray());
        CollectionAssert.AreEqual(eval.Select(e => e.Source).ToArray(), ExampleSubset.Split(all, 4, 42).Eval.Select(e => e.Source).ToArray());
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => ExampleSubset.Split(all, 0.01, 42)).Message, "leaves none to evaluate on");
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => ExampleSubset.Split(all, 20, 42)).Message, "leaves none to train on");
    }

    private static TrainingExample Read(DataRequirements requirements, string content)
    {
        using TemporaryFolder folder = new();
        return DataFile.Read(folder.Write("d.jsonl", content), requirements)[0];
    }

    private sealed class Row
    {
        public string Text { get; set; } = "";

        public long Label { get; set; }

        public List<long> Ids { get; set; } = [];
    }
}
