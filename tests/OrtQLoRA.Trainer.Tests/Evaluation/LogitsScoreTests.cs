using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Evaluation;

namespace OrtQLoRA.Trainer.Tests.Evaluation;

[TestClass]
public sealed class LogitsScoreTests
{
    private static readonly DenseTensor Logits = DenseTensor.Of([1, 3, 2], [2f, 0f, 0f, 1f, 5f, 5f]);

    [TestMethod]
    public void Of_CausalLm_ComparesEachPositionWithTheNextLabel()
    {
        LogitsScore score = LogitsScore.Of(TrainingTask.CausalLm, Logits, DenseTensor.Of([1, 3], [0L, 0L, 0L]));

        Assert.AreEqual(2, score.Counted);
        Assert.AreEqual(1, score.Correct);
        Assert.AreEqual(CrossEntropy(2, 0) + CrossEntropy(0, 1), score.LossSum, 1e-12);
    }

    [TestMethod]
    public void Of_TokenClassification_LeavesIgnoredLabelsOut()
    {
        LogitsScore score = LogitsScore.Of(TrainingTask.TokenClassification, Logits, DenseTensor.Of([1, 3], [0L, -100L, 1L]));

        Assert.AreEqual(2, score.Counted);
        Assert.AreEqual(CrossEntropy(2, 0) + CrossEntropy(5, 5), score.LossSum, 1e-12);
    }

    [TestMethod]
    public void Of_SequenceClassification_TakesOneLabelARow()
    {
        LogitsScore score = LogitsScore.Of(TrainingTask.SequenceClassification, DenseTensor.Of([2, 2], [1000f, 0f, 0f, 1f]), DenseTensor.Vector(0L, 1L));

        Assert.AreEqual(2, score.Correct);
        Assert.AreEqual(CrossEntropy(1, 0), score.LossSum, 1e-12);
    }

    [TestMethod]
    public void Of_Regression_SumsSquares() => Assert.AreEqual(
        5, LogitsScore.Of(TrainingTask.Regression, DenseTensor.Of([2, 1], [1f, 2f]), DenseTensor.Of([2, 1], [0f, 4f])).LossSum);

    [TestMethod]
    public void Of_ShapesThatDoNotFit_AreNamed() => StringAssert.Contains(
        Assert.ThrowsExactly<GraphException>(() => LogitsScore.Of(TrainingTask.SequenceClassification, Logits, DenseTensor.Vector(0L))).Message, "[1, 3, 2]");

    private static double CrossEntropy(double right, double wrong) => Math.Log(1 + Math.Exp(wrong - right));
}
