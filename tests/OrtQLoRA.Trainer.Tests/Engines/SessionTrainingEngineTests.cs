using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Tests.Engines;

[TestClass]
public sealed class SessionTrainingEngineTests
{
    [TestMethod]
    public void TrainStep_OneBatch_GivesLossAndGradientsOfTheFormula()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create();
        using SessionTrainingEngine engine = new(artifacts);
        Dictionary<string, DenseTensor> batch = SmallArtifacts.Batch(5, 11);
        (double loss, double[] weights, double bias) = Reference(batch, engine);

        Assert.AreEqual(loss, engine.TrainStep(batch), 1e-5);

        AssertClose(weights, engine.GetGradient("w"));
        AssertClose([bias], engine.GetGradient("b"));
    }

    [TestMethod]
    public void TrainStep_TwoWeightedMicroBatches_AddsThem()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create();
        using SessionTrainingEngine engine = new(artifacts);
        Dictionary<string, DenseTensor> first = SmallArtifacts.Batch(5, 11);
        Dictionary<string, DenseTensor> second = SmallArtifacts.Batch(3, 23);
        double[] expected = [.. Reference(first, engine).Weights.Zip(Reference(second, engine).Weights, (a, b) => (0.25 * a) + (0.75 * b))];

        engine.TrainStep(first, 0.25);
        engine.TrainStep(second, 0.75);

        AssertClose(expected, engine.GetGradient("w"));
    }

    [TestMethod]
    public void LazyResetGrad_BeforeTrainStep_ForgetsEarlierGradients()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create();
        using SessionTrainingEngine engine = new(artifacts);
        Dictionary<string, DenseTensor> batch = SmallArtifacts.Batch(4, 5);
        engine.TrainStep(batch);
        float[] once = engine.GetGradient("w").ToFloats();

        engine.LazyResetGrad();
        CollectionAssert.AreEqual(once, engine.GetGradient("w").ToFloats(), "The reset waits for the next step.");
        engine.TrainStep(batch);

        CollectionAssert.AreEqual(once, engine.GetGradient("w").ToFloats());
    }

    [TestMethod]
    public void EvalStep_AfterOptimizerStep_SeesTheNewParameters()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create();
        using SessionTrainingEngine engine = new(artifacts) { LearningRate = 0.05 };
        Dictionary<string, DenseTensor> batch = SmallArtifacts.Batch(6, 2);
        double before = engine.EvalStep(batch).Loss;
        Assert.AreEqual(before, engine.TrainStep(batch), 1e-6);

        engine.OptimizerStep();
        EvalStepResult after = engine.EvalStep(batch, "prediction");

        Assert.AreEqual(Reference(batch, engine).Loss, after.Loss, 1e-5);
        Assert.IsLessThan(before, after.Loss);
        CollectionAssert.AreEqual(new long[] { 6, 1 }, after.Outputs["prediction"].Dims.ToArray());
    }

    [TestMethod]
    public void EvalStep_UnknownOutput_NamesThoseThereAre()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create();
        using SessionTrainingEngine engine = new(artifacts);

        EngineException e = Assert.ThrowsExactly<EngineException>(() => engine.EvalStep(SmallArtifacts.Batch(1, 1), "logits"));

        StringAssert.Contains(e.Message, "'logits'");
        StringAssert.Contains(e.Message, "prediction");
    }

    [TestMethod]
    public void TrainStep_MissingInput_NamesIt()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create();
        using SessionTrainingEngine engine = new(artifacts);
        Dictionary<string, DenseTensor> batch = SmallArtifacts.Batch(1, 1);
        batch.Remove("x");

        StringAssert.Contains(Assert.ThrowsExactly<EngineException>(() => engine.TrainStep(batch)).Message, "'x'");
    }

    [TestMethod]
    public void OptimizerStep_GradientNotFinite_ChangesNothing()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create(maxGradNorm: 1);
        using SessionTrainingEngine engine = new(artifacts) { LearningRate = 0.1 };
        float[] before = engine.GetParameter("w").ToFloats();
        Dictionary<string, DenseTensor> batch = SmallArtifacts.Batch(2, 1);
        batch[ArtifactNames.Target] = DenseTensor.Of([2, 1], [float.NaN, 0]);
        engine.TrainStep(batch);

        Assert.IsFalse(double.IsFinite(engine.OptimizerStep()));

        CollectionAssert.AreEqual(before, engine.GetParameter("w").ToFloats());
        Assert.AreEqual(0, engine.CompletedSteps);
    }

    [TestMethod]
    public void LoadState_HalfWay_ContinuesBitForBit()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create(maxGradNorm: 0.5);
        using SessionTrainingEngine whole = new(artifacts) { LearningRate = 0.05 };
        Run(whole, 0, 4);
        EngineState half = whole.SaveState();
        Run(whole, 4, 8);

        using SessionTrainingEngine resumed = new(artifacts) { LearningRate = 0.05 };
        resumed.LoadState(half);
        Run(resumed, 4, 8);

        Assert.AreEqual(8, resumed.CompletedSteps);
        foreach (string name in new[] { "w", "b" })
        {
            CollectionAssert.AreEqual(whole.GetParameter(name).ToFloats(), resumed.GetParameter(name).ToFloats());
        }
    }

    [TestMethod]
    public void LoadState_OfAnotherOptimizer_ChangesNothing()
    {
        using TrainingArtifacts adamw = SmallArtifacts.Create();
        using TrainingArtifacts sgd = SmallArtifacts.Create(new SgdOptimizer());
        using SessionTrainingEngine engine = new(adamw);
        using SessionTrainingEngine other = new(sgd) { LearningRate = 1 };
        Run(other, 0, 1);
        float[] before = engine.GetParameter("w").ToFloats();

        Graph.ModelFormatException e = Assert.ThrowsExactly<Graph.ModelFormatException>(() => engine.LoadState(other.SaveState()));

        StringAssert.Contains(e.Message, "exp_avg");
        CollectionAssert.AreEqual(before, engine.GetParameter("w").ToFloats());
    }

    [TestMethod]
    public void SetParameter_WrongShape_IsRefused()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create();
        using SessionTrainingEngine engine = new(artifacts);

        Assert.ThrowsExactly<Graph.ModelFormatException>(() => engine.SetParameter("w", DenseTensor.Vector(1f)));
    }

    [TestMethod]
    public void TrainStep_SameSeedTwice_GivesTheSameBits()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create(maxGradNorm: 0.5);
        using SessionTrainingEngine first = new(artifacts) { LearningRate = 0.05 };
        using SessionTrainingEngine second = new(artifacts) { LearningRate = 0.05 };
        Run(first, 0, 10);
        Run(second, 0, 10);

        CollectionAssert.AreEqual(first.GetParameter("w").ToFloats(), second.GetParameter("w").ToFloats());
    }

    internal static void Run(ITrainingEngine engine, int from, int to)
    {
        for (int step = from; step < to; step++)
        {
            engine.LazyResetGrad();
            engine.TrainStep(SmallArtifacts.Batch(4, step));
            engine.OptimizerStep();
        }
    }

    private static (double Loss, double[] Weights, double Bias) Reference(Dictionary<string, DenseTensor> batch, ITrainingEngine engine)
    {
        float[] x = batch["x"].ToFloats();
        float[] target = batch[ArtifactNames.Target].ToFloats();
        float[] frozen = SmallArtifacts.Frozen.ToFloats();
        float[] w = engine.GetParameter("w").ToFloats();
        double b = engine.GetParameter("b").ToFloats()[0];
        double loss = 0;
        double[] weights = new double[SmallArtifacts.Hidden];
        double bias = 0;
        for (int row = 0; row < target.Length; row++)
        {
            double[] hidden = new double[SmallArtifacts.Hidden];
            for (int j = 0; j < hidden.Length; j++)
            {
                for (int i = 0; i < SmallArtifacts.Features; i++)
                {
                    hidden[j] += (double)x[(row * SmallArtifacts.Features) + i] * frozen[(i * SmallArtifacts.Hidden) + j];
                }
            }

            double difference = hidden.Zip(w, (h, v) => h * v).Sum() + b - target[row];
            loss += difference * difference / target.Length;
            double gradient = 2 * difference / target.Length;
            bias += gradient;
            for (int j = 0; j < hidden.Length; j++)
            {
                weights[j] += gradient * hidden[j];
            }
        }

        return (loss, weights, bias);
    }

    private static void AssertClose(double[] expected, DenseTensor actual) =>
        TestKit.TensorAssert.AreClose(DenseTensor.Vector(expected), new DenseTensor(DataType.Float, [expected.Length], actual.Data), 1e-5);
}
