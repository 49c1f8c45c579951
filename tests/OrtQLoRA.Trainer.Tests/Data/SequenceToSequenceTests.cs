using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Tests.Data;

/// <summary>Encoder-decoder models: labels of a length of their own, and what the decoder reads.</summary>
[TestClass]
public sealed class SequenceToSequenceTests
{
    private static readonly Shape TokenShape = new(Dimension.Of("batch"), Dimension.Of("sequence"));

    private static readonly DataRequirements Requirements = new()
    {
        Task = TrainingTask.SequenceToSequence,
        OtherInputs = ["decoder_input_ids", "decoder_attention_mask"],
        DecoderStartId = 7,
        PadId = 9,
    };

    [TestMethod]
    public void Read_LabelsAlone_AreShiftedForTheDecoder()
    {
        TrainingExample example = Read("""{"input_ids": [1, 2, 3, 4], "labels": [5, -100, 6]}""");

        CollectionAssert.AreEqual(new long[] { 5, -100, 6 }, example.Labels);
        CollectionAssert.AreEqual(new long[] { 7, 5, 9 }, example.DecoderInputIds);
    }

    [TestMethod]
    public void Read_DecoderInputsGiven_AreTaken() =>
        CollectionAssert.AreEqual(new long[] { 0, 5 }, Read("""{"input_ids": [1], "labels": [5, 6], "decoder_input_ids": [0, 5]}""").DecoderInputIds);

    [TestMethod]
    public void Read_TargetText_BecomesLabels() =>
        CollectionAssert.AreEqual(new long[] { 2, 3 }, Read("""{"text": "ab", "target": "cd"}""", Requirements with { Tokenizer = new LetterTokenizer() }).Labels);

    [TestMethod]
    [DataRow("""{"input_ids": [1]}""", "neither \"labels\"")]
    [DataRow("""{"input_ids": [1], "labels": []}""", "empty")]
    [DataRow("""{"input_ids": [1], "labels": [1, 2], "decoder_input_ids": [1]}""", "has 1 entries, \"labels\" has 2")]
    public void Read_LinesThatDoNotFit_AreRefused(string line, string message) =>
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => Read(line)).Message, message);

    [TestMethod]
    public void Read_WithoutStartToken_AsksForDecoderInputs() => StringAssert.Contains(
        Assert.ThrowsExactly<TrainingDataException>(() => Read("""{"input_ids": [1], "labels": [2]}""", Requirements with { DecoderStartId = null })).Message,
        "decoder_start_token_id");

    [TestMethod]
    public void Collate_DecoderSequences_ArePaddedOnTheirOwn()
    {
        ModelInput[] inputs = [.. new[] { "input_ids", "decoder_input_ids", "decoder_attention_mask", "labels" }.Select(n => new ModelInput(n, DataType.Int64, TokenShape))];
        DataCollator collator = new(inputs, TrainingTask.SequenceToSequence, padId: 9);

        Batch batch = collator.Collate([Read("""{"input_ids": [1], "labels": [2, 3]}"""), Read("""{"input_ids": [4, 5, 6], "labels": [-100]}""")]);

        CollectionAssert.AreEqual(new long[] { 1, 9, 9, 4, 5, 6 }, batch.Inputs["input_ids"].ToInt64s());
        CollectionAssert.AreEqual(new long[] { 2, 3, -100, -100 }, batch.Inputs["labels"].ToInt64s());
        CollectionAssert.AreEqual(new long[] { 7, 2, 7, 9 }, batch.Inputs["decoder_input_ids"].ToInt64s());
        CollectionAssert.AreEqual(new long[] { 1, 1, 1, 0 }, batch.Inputs["decoder_attention_mask"].ToInt64s());
        Assert.AreEqual(2, batch.CountedTargets);
    }

    private static TrainingExample Read(string line, DataRequirements? requirements = null)
    {
        using TemporaryFolder folder = new();
        return DataFile.Read(folder.Write("data.jsonl", line + "\n"), requirements ?? Requirements)[0];
    }
}
