using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Tests.Data;

[TestClass]
public sealed class DataFileTests
{
    private static readonly DataRequirements Causal = new() { Task = TrainingTask.CausalLm, VocabularySize = 100, ClassCount = 100 };
    private static readonly DataRequirements Classes = new() { Task = TrainingTask.SequenceClassification, VocabularySize = 100, ClassCount = 3 };
    private static readonly DataRequirements TokenClasses = new() { Task = TrainingTask.TokenClassification, VocabularySize = 100, ClassCount = 3 };

    [TestMethod]
    public void Read_PretokenizedLines_KeepsThem()
    {
        IReadOnlyList<TrainingExample> examples = Read(Causal, """
            {"input_ids": [1, 2, 3], "attention_mask": [1, 1, 0], "labels": [-100, 2, -100], "id": "kept apart"}

            {"input_ids": [4]}
            """);

        Assert.HasCount(2, examples);
        CollectionAssert.AreEqual(new long[] { 1, 2, 3 }, examples[0].InputIds);
        CollectionAssert.AreEqual(new long[] { -100, 2, -100 }, examples[0].Labels);
        Assert.AreEqual(2, examples[0].TokenCount);
        Assert.AreEqual(3, examples[1].Source.Line);
    }

    [TestMethod]
    [DataRow("{\"input_ids\": [1, 100]}", "input_ids[1] is 100", DisplayName = "id beyond the vocabulary")]
    [DataRow("{\"input_ids\": [1, -1]}", "input_ids[1] is -1", DisplayName = "negative id")]
    [DataRow("{\"input_ids\": [1, 2], \"labels\": [1]}", "\"labels\" has 1 entries", DisplayName = "labels of another length")]
    [DataRow("{\"input_ids\": [1, 2], \"attention_mask\": [1, 2]}", "attention_mask[1] is 2", DisplayName = "mask that is no mask")]
    [DataRow("{\"input_ids\": [1, 2], \"labels\": [1, -5]}", "labels[1] is -5", DisplayName = "negative label")]
    [DataRow("{\"input_ids\": [1, 2.5]}", "input_ids[1] is 2.5", DisplayName = "fraction")]
    [DataRow("{\"input_ids\": [[1, 2]]}", "without the batch axis", DisplayName = "nested")]
    [DataRow("{\"input_ids\": \"1 2\"}", "list of whole numbers", DisplayName = "string")]
    [DataRow("{\"input_ids\": []}", "no token", DisplayName = "empty")]
    [DataRow("{\"ids\": [1]}", "its keys are ids", DisplayName = "wrong key")]
    [DataRow("{\"text\": \"a\"}", "--tokenizer", DisplayName = "text without tokenizer")]
    [DataRow("{\"input_ids\": [1, 2}", "no JSON object", DisplayName = "broken JSON")]
    [DataRow("[1, 2]", "JSON array", DisplayName = "array")]
    public void Read_FaultyLine_NamesFileLineAndFault(string line, string expected)
    {
        using TemporaryFolder folder = new();
        string path = folder.File("train.jsonl");
        File.WriteAllText(path, "{\"input_ids\": [1, 2]}\n" + line + "\n");

        TrainingDataException e = Assert.ThrowsExactly<TrainingDataException>(() => DataFile.Read(path, Causal));

        StringAssert.StartsWith(e.Message, path + ":2: ");
        StringAssert.Contains(e.Message, expected);
    }

    [TestMethod]
    [DataRow("{\"input_ids\": [1], \"label\": 3}", "0 to 2", DisplayName = "class beyond the last")]
    [DataRow("{\"input_ids\": [1]}", "no \"label\"", DisplayName = "no label")]
    [DataRow("{\"input_ids\": [1], \"label\": \"good\"}", "whole number", DisplayName = "name")]
    public void Read_FaultyClass_SaysSo(string line, string expected) =>
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => Read(Classes, line)).Message, expected);

    [TestMethod]
    public void Read_ClassUnderHuggingFacesName_IsTaken() => Assert.AreEqual(2, Read(Classes, "{\"input_ids\": [1], \"labels\": 2}")[0].Label);

    [TestMethod]
    public void Read_TokenClasses_AsksForLabels()
    {
        CollectionAssert.AreEqual(new long[] { 0, -100, 2 }, Read(TokenClasses, "{\"input_ids\": [1, 2, 3], \"labels\": [0, -100, 2]}")[0].Labels);
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => Read(TokenClasses, "{\"input_ids\": [1]}")).Message, "no \"labels\"");
    }

    [TestMethod]
    public void Read_Regression_TakesNumbersListsAndOtherInputs()
    {
        DataRequirements requirements = new() { Task = TrainingTask.Regression, NeedsTokens = false, OtherInputs = ["x"] };
        IReadOnlyList<TrainingExample> examples = Read(requirements, """
            {"x": [[1, 2], [3, 4]], "target": 0.5}
            {"x": [[1, 2], [3, 4]], "label": [1, 2]}
            """);

        CollectionAssert.AreEqual(new long[] { 2, 2 }, examples[0].OtherInputs["x"].Dims);
        CollectionAssert.AreEqual(new[] { 0.5 }, examples[0].Target!.Values);
        CollectionAssert.AreEqual(new long[] { 2 }, examples[1].Target!.Dims);
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => Read(requirements, "{\"x\": [[1], [2, 3]], \"target\": 1}")).Message, "ragged");
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => Read(requirements, "{\"target\": 1}")).Message, "no \"x\"");
    }

    [TestMethod]
    public void Read_MaxLength_CutsEveryField()
    {
        TrainingExample example = Read(Causal with { MaxLength = 2 }, "{\"input_ids\": [1, 2, 3], \"attention_mask\": [1, 1, 1], \"labels\": [1, 2, 3]}")[0];

        CollectionAssert.AreEqual(new long[] { 1, 2 }, example.InputIds);
        CollectionAssert.AreEqual(new long[] { 1, 2 }, example.Labels);
        CollectionAssert.AreEqual(new long[] { 1, 1 }, example.AttentionMask);
    }

    [TestMethod]
    public void Read_PlainText_BecomesBlocks()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("book.txt");
        File.WriteAllText(path, "abcdefghij");
        IReadOnlyList<TrainingExample> examples = DataFile.Read(path, Causal with { Tokenizer = new LetterTokenizer(), MaxLength = 4 });

        CollectionAssert.AreEqual(new[] { 4, 4, 2 }, examples.Select(e => e.InputIds.Length).ToArray());
    }

    [TestMethod]
    public void Read_TokenizerOfAnotherModel_SaysSo()
    {
        DataRequirements small = Causal with { VocabularySize = 3, Tokenizer = new LetterTokenizer() };

        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => Read(small, "{\"text\": \"az\"}")).Message, "does not belong to this model");
    }

    [TestMethod]
    public void Read_AppendEos_EndsTextsOnly()
    {
        DataRequirements requirements = Causal with { Tokenizer = new LetterTokenizer(), AppendEndOfSequence = true };
        IReadOnlyList<TrainingExample> examples = Read(requirements, "{\"text\": \"ab\"}\n{\"input_ids\": [0, 1]}");

        CollectionAssert.AreEqual(new long[] { 0, 1, 26 }, examples[0].InputIds);
        CollectionAssert.AreEqual(new long[] { 0, 1 }, examples[1].InputIds);
    }

    [TestMethod]
    [DataRow("")]
    [DataRow("\n \n")]
    public void Read_EmptyFile_SaysSo(string content) =>
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => Read(Causal, content)).Message, "holds no example");

    [TestMethod]
    public void Read_AbsentFile_SaysSo() =>
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => DataFile.Read("/nowhere/data.jsonl", Causal)).Message, "does not exist");

    [TestMethod]
    public void Read_MalformedUtf8_SaysSo()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("bad.jsonl");
        File.WriteAllBytes(path, [.. "{\"text\": \""u8, 0xFF, 0xFE, .. "\"}\n"u8]);

        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => DataFile.Read(path, Causal)).Message, "not UTF-8");
    }

    private static IReadOnlyList<TrainingExample> Read(DataRequirements requirements, string content)
    {
        using TemporaryFolder folder = new();
        string path = folder.File("data.jsonl");
        File.WriteAllText(path, content);
        return DataFile.Read(path, requirements);
    }
}
