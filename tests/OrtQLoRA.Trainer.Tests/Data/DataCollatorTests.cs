using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Tests.Data;

[TestClass]
public sealed class DataCollatorTests
{
    private static readonly Shape TokenShape = new(Dimension.Of("batch"), Dimension.Of("sequence"));

    [TestMethod]
    public void Collate_UnequalRows_PadsAtTheRight()
    {
        DataCollator collator = new(Inputs("input_ids", "attention_mask", "token_type_ids", "position_ids", "labels"), TrainingTask.CausalLm, padId: 9);
        Batch batch = collator.Collate([Tokens(1, 2, 3), Tokens(4)]);

        CollectionAssert.AreEqual(new long[] { 1, 2, 3, 4, 9, 9 }, batch.Inputs["input_ids"].ToInt64s());
        CollectionAssert.AreEqual(new long[] { 1, 1, 1, 1, 0, 0 }, batch.Inputs["attention_mask"].ToInt64s());
        CollectionAssert.AreEqual(new long[] { 0, 0, 0, 0, 0, 0 }, batch.Inputs["token_type_ids"].ToInt64s());
        CollectionAssert.AreEqual(new long[] { 0, 1, 2, 0, 1, 2 }, batch.Inputs["position_ids"].ToInt64s());
        CollectionAssert.AreEqual(new long[] { 1, 2, 3, 4, -100, -100 }, batch.Inputs["labels"].ToInt64s());
        Assert.AreEqual(2, batch.CountedTargets);
        Assert.AreEqual(4, batch.Tokens);
    }

    [TestMethod]
    public void Collate_MaskedTokensWithoutLabels_DoNotCount()
    {
        DataCollator collator = new(Inputs("input_ids", "labels"), TrainingTask.CausalLm);
        TrainingExample example = new() { Source = new("f", 1), InputIds = [5, 6, 7], AttentionMask = [1, 1, 0] };

        Batch batch = collator.Collate([example]);

        CollectionAssert.AreEqual(new long[] { 5, 6, -100 }, batch.Inputs["labels"].ToInt64s());
        Assert.AreEqual(1, batch.CountedTargets);
        Assert.AreEqual(2, batch.Tokens);
    }

    [TestMethod]
    public void Collate_LabelsOfTokens_CountWithoutShift()
    {
        TrainingExample example = new() { Source = new("f", 1), InputIds = [5, 6, 7], Labels = [1, -100, 2] };

        Assert.AreEqual(2, new DataCollator(Inputs("input_ids", "labels"), TrainingTask.TokenClassification).Collate([example]).CountedTargets);
    }

    [TestMethod]
    public void Collate_LabelsOfAModelWithoutTokens_KeepTheirOwnLength()
    {
        DataCollator collator = new(Inputs("labels"), TrainingTask.TokenClassification);

        Batch batch = collator.Collate([new() { Source = new("f", 1), InputIds = [], Labels = [1, -100, 2] }, new() { Source = new("f", 2), InputIds = [], Labels = [4] }]);

        CollectionAssert.AreEqual(new long[] { 1, -100, 2, 4, -100, -100 }, batch.Inputs["labels"].ToInt64s());
        Assert.AreEqual(3, batch.CountedTargets);
    }

    [TestMethod]
    public void Collate_ElementTypesOfTheModel_AreMet()
    {
        ModelInput[] inputs = [new("input_ids", DataType.Int32, TokenShape), new("attention_mask", DataType.Float, TokenShape)];
        Batch batch = new DataCollator(inputs, TrainingTask.CausalLm).Collate([Tokens(1, 2)]);

        CollectionAssert.AreEqual(new[] { 1, 2 }, batch.Inputs["input_ids"].ToArray<int>());
        CollectionAssert.AreEqual(new[] { 1f, 1f }, batch.Inputs["attention_mask"].ToFloats());
    }

    [TestMethod]
    public void Collate_FixedSequence_IsFilledOrRefused()
    {
        ModelInput[] inputs = [new("input_ids", DataType.Int64, new Shape(Dimension.Of("batch"), 3))];
        DataCollator collator = new(inputs, TrainingTask.CausalLm);

        Assert.AreEqual(3, collator.Collate([Tokens(1)]).Inputs["input_ids"].Dims[1]);
        StringAssert.Contains(Assert.ThrowsExactly<TrainingDataException>(() => collator.Collate([Tokens(1, 2, 3, 4)])).Message, "--max-length 3");
    }

    [TestMethod]
    public void Collate_FixedBatch_RefusesOthers()
    {
        ModelInput[] inputs = [new("input_ids", DataType.Int64, new Shape(2, Dimension.Of("sequence")))];

        StringAssert.Contains(
            Assert.ThrowsExactly<TrainingDataException>(() => new DataCollator(inputs, TrainingTask.CausalLm).Collate([Tokens(1)])).Message, "--batch");
    }

    [TestMethod]
    public void Collate_ScalarTargets_GetTheHeadsLastAxis()
    {
        ModelInput[] inputs = [new("x", DataType.Float, null), new("target", DataType.Float, new Shape(Dimension.Of("batch"), 1))];
        Batch batch = new DataCollator(inputs, TrainingTask.Regression).Collate([Regression(1, 0.5), Regression(2, 1.5)]);

        CollectionAssert.AreEqual(new long[] { 2, 1 }, batch.Inputs["target"].Dims.ToArray());
        CollectionAssert.AreEqual(new long[] { 2, 2 }, batch.Inputs["x"].Dims.ToArray());
        Assert.AreEqual(2, batch.CountedTargets);
    }

    [TestMethod]
    public void Collate_KeyValueCache_IsEmpty()
    {
        ModelInput[] inputs =
        [
            new("past_key_values.0.key", DataType.Float, new Shape(Dimension.Of("batch_size"), 4, Dimension.Of("past_sequence_length"), 8)),
            new("use_cache_branch", DataType.Bool, Shape.Of(1)),
        ];
        Batch batch = new DataCollator(inputs, TrainingTask.CausalLm).Collate([Tokens(1, 2), Tokens(3)]);

        CollectionAssert.AreEqual(new long[] { 2, 4, 0, 8 }, batch.Inputs["past_key_values.0.key"].Dims.ToArray());
        CollectionAssert.AreEqual(new long[] { 0 }, batch.Inputs["use_cache_branch"].ToInt64s());
    }

    private static ModelInput[] Inputs(params string[] names) => [.. names.Select(n => new ModelInput(n, DataType.Int64, TokenShape))];

    private static TrainingExample Tokens(params long[] ids) => new() { Source = new("f", 1), InputIds = ids };

    private static TrainingExample Regression(double x, double target) => new()
    {
        Source = new("f", 1),
        Target = new([], [target]),
        OtherInputs = new Dictionary<string, ExampleTensor> { ["x"] = new([2], [x, x + 1]) },
    };
}
