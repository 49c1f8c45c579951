using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Checkpoints;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Schedules;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Tests.Training;

/// <summary>The loop alone, on an engine that writes down what it is asked.</summary>
[TestClass]
public sealed class TrainingLoopTests
{
    [TestMethod]
    public void Run_Mean_WeighsMicroBatchesAlike()
    {
        RecordingEngine engine = new(losses: [1, 4]);
        StepMetrics[] steps = Run(engine, new TrainingOptions { Batch = 1, GradientAccumulation = 2, MaxSteps = 1, Shuffle = false }, 3, 9);

        CollectionAssert.AreEqual(new[] { 0.5, 0.5 }, engine.Weights);
        Assert.AreEqual(2.5, steps[0].Loss);
        Assert.AreEqual(12, steps[0].Tokens);
    }

    [TestMethod]
    public void Run_Tokens_WeighsByCountedTargets()
    {
        RecordingEngine engine = new(losses: [1, 4]);
        StepMetrics[] steps = Run(
            engine,
            new TrainingOptions { Batch = 1, GradientAccumulation = 2, MaxSteps = 1, Shuffle = false, LossNormalization = LossNormalization.Tokens }, 3, 9);

        CollectionAssert.AreEqual(new[] { 0.2, 0.8 }, engine.Weights);
        Assert.AreEqual((0.2 * 1) + (0.8 * 4), steps[0].Loss, 1e-12);
    }

    [TestMethod]
    public void Run_LastWindowOfAnEpoch_IsSmaller()
    {
        RecordingEngine engine = new(losses: [1]);
        StepMetrics[] steps = Run(engine, new TrainingOptions { Batch = 1, GradientAccumulation = 2, Epochs = 1, Shuffle = false }, 3, 3, 3);

        Assert.HasCount(2, steps);
        CollectionAssert.AreEqual(new[] { 0.5, 0.5, 1 }, engine.Weights);
        Assert.AreEqual(1, steps[1].Epoch);
    }

    [TestMethod]
    public void Run_BatchInWhichNothingCounts_IsLeftOutWithAWarning()
    {
        RecordingEngine engine = new(losses: [1]);
        Warnings warnings = new();
        Run(engine, new TrainingOptions { Batch = 1, GradientAccumulation = 2, MaxSteps = 1, Shuffle = false }, warnings, 1, 5);

        CollectionAssert.AreEqual(new[] { 1.0 }, engine.Weights);
        StringAssert.Contains(warnings.Messages.Single(), "data:1");
    }

    [TestMethod]
    public void Run_NothingCountsAnywhere_IsRefused() =>
        Assert.ThrowsExactly<TrainingDataException>(() => Run(new RecordingEngine([1]), new TrainingOptions { MaxSteps = 1 }, 1, 1));

    [TestMethod]
    public void Run_Schedule_SetsTheRateOfEachStep()
    {
        RecordingEngine engine = new(losses: [1]);
        Run(
            engine,
            new TrainingOptions { Batch = 1, MaxSteps = 4, LearningRate = 0.1, LearningRateSchedule = ScheduleKind.Linear, WarmupSteps = 2, Shuffle = false },
            3, 3);

        CollectionAssert.AreEqual(new[] { 0, 0.05, 0.1, 0.05 }, engine.Rates);
        Assert.AreEqual(4, engine.Resets);
    }

    [TestMethod]
    public void Run_LossIsNaN_StopsBeforeTheUpdateAndNamesTheLines()
    {
        RecordingEngine engine = new(losses: [1, double.NaN]);

        TrainingDivergedException e = Assert.ThrowsExactly<TrainingDivergedException>(
            () => Run(engine, new TrainingOptions { Batch = 1, MaxSteps = 9, Shuffle = false }, 3, 3));

        Assert.AreEqual(2, e.Step);
        Assert.HasCount(1, engine.Rates);
        StringAssert.Contains(e.Message, "data:2");
    }

    [TestMethod]
    public void Run_LossIsNaNAndPolicyIsSkip_LeavesTheUpdateOut()
    {
        RecordingEngine engine = new(losses: [1, double.NaN, 1]);
        Warnings warnings = new();

        StepMetrics[] steps = Run(engine, new TrainingOptions { Batch = 1, MaxSteps = 3, Shuffle = false, OnDivergence = DivergencePolicy.Skip }, warnings, 3, 3);

        Assert.HasCount(2, engine.Rates);
        CollectionAssert.AreEqual(new string?[] { null, "skipped", null }, steps.Select(s => s.Diverged).ToArray());
        StringAssert.Contains(warnings.Messages.Single(), "data:2");
    }

    [TestMethod]
    public void Run_LossJumps_IsLeftOutOnceThereAreEnoughLosses()
    {
        RecordingEngine engine = new(losses: [.. Enumerable.Repeat(1.0, 22), 5, 1]);

        StepMetrics[] steps = Run(
            engine, new TrainingOptions { Batch = 1, MaxSteps = 24, Shuffle = false, OnDivergence = DivergencePolicy.Skip, SpikeFactor = 2 }, new Warnings(), 3, 3);

        CollectionAssert.AreEqual(new long[] { 23 }, steps.Where(s => s.Diverged is not null).Select(s => s.Step).ToArray());
    }

    [TestMethod]
    public void Run_NothingButNaN_StopsAfterTenInARow()
    {
        RecordingEngine engine = new(losses: [double.NaN]);

        TrainingDivergedException e = Assert.ThrowsExactly<TrainingDivergedException>(
            () => Run(engine, new TrainingOptions { Batch = 1, MaxSteps = 99, OnDivergence = DivergencePolicy.Skip }, 3, 3));

        Assert.AreEqual(11, e.Step);
    }

    [TestMethod]
    public void Run_GradientNormIsInfinite_Stops()
    {
        RecordingEngine engine = new(losses: [1]) { Norm = double.PositiveInfinity };

        StringAssert.Contains(
            Assert.ThrowsExactly<TrainingDivergedException>(() => Run(engine, new TrainingOptions { MaxSteps = 1 }, 3)).Message, "gradient norm");
    }

    [TestMethod]
    public void Run_GradientsOverflowInHalfPrecision_RunsTheStepAgainAtASmallerScale()
    {
        RecordingEngine engine = new([1]) { Overflows = 2 };

        Run(engine, new TrainingOptions { Batch = 1, MaxSteps = 1 }, 3);

        Assert.HasCount(3, engine.Weights);
        Assert.AreEqual(3, engine.Resets, "Each try starts from zero gradients.");
        Assert.AreEqual(0, engine.Overflows);
    }

    [TestMethod]
    public void Run_BatchRefused_NamesStepAndLines()
    {
        RecordingEngine engine = new(losses: [1]) { Refusal = new EngineException("Out of bounds.", isUserError: true) };

        EngineException e = Assert.ThrowsExactly<EngineException>(() => Run(engine, new TrainingOptions { MaxSteps = 1 }, 3));

        Assert.IsTrue(e.IsUserError);
        StringAssert.Contains(e.Message, "Step 1");
        StringAssert.Contains(e.Message, "data:1");
    }

    [TestMethod]
    public void Run_MemoryRunsOut_AdvisesWithNumbers()
    {
        RecordingEngine engine = new(losses: [1]) { Refusal = new EngineException("ONNX Runtime: Failed to allocate memory for requested buffer of size 123") };
        TrainingEstimate estimate = new(1_000_000_000, 2_000_000_000, 300_000_000, 4_000_000_000, 512, 6_000_000_000, null, 10, null, 512, 1000);

        EngineException e = Assert.ThrowsExactly<EngineException>(() => Loop(engine, new TrainingOptions { MaxSteps = 1 }, new Warnings(), estimate, 3).Run(new LoopState(), _ => true));

        Assert.IsTrue(e.IsUserError);
        foreach (string expected in new[] { "4000.0 MB for a part of 512 tokens", "about 7300.0 MB of 6000.0 MB", "--chunk-tokens 256", "saves about 2000.0 MB", "--no-prepack saves up to 2000.0 MB" })
        {
            StringAssert.Contains(e.Message, expected);
        }
    }

    private static StepMetrics[] Run(RecordingEngine engine, TrainingOptions options, params int[] lengths) => Run(engine, options, new Warnings(), lengths);

    private static StepMetrics[] Run(RecordingEngine engine, TrainingOptions options, ITrainingCallback callback, params int[] lengths)
    {
        List<StepMetrics> steps = [];
        Loop(engine, options, callback, null, lengths).Run(new LoopState(), step =>
        {
            steps.Add(step);
            return true;
        });
        return [.. steps];
    }

    private static TrainingLoop Loop(RecordingEngine engine, TrainingOptions options, ITrainingCallback callback, TrainingEstimate? estimate, params int[] lengths)
    {
        ModelInput[] inputs = [new("input_ids", DataType.Int64, null), new(ArtifactNames.Labels, DataType.Int64, null)];
        TrainingExample[] examples = [.. lengths.Select((n, i) => new TrainingExample { Source = new("data", i + 1), InputIds = new long[n] })];
        return new TrainingLoop(engine, options, examples, new DataCollator(inputs, options.Task ?? TrainingTask.CausalLm), callback)
        {
            MemoryAdvice = estimate is null ? null : (_, _) => estimate,
        };
    }

    private sealed class Warnings : ITrainingCallback
    {
        public List<string> Messages { get; } = [];

        public void OnWarning(string message) => Messages.Add(message);
    }

    /// <summary>Returns losses in turn, the last one again and again.</summary>
    private sealed class RecordingEngine(double[] losses) : ITrainingEngine
    {
        public List<double> Weights { get; } = [];

        public List<double> Rates { get; } = [];

        public int Resets { get; private set; }

        public double Norm { get; init; } = 1;

        public int Overflows { get; set; }

        public EngineException? Refusal { get; init; }

        public IReadOnlyList<TrainableParameter> Parameters => [];

        public double LearningRate { get; set; }

        public long CompletedSteps => Rates.Count;

        public double TrainStep(IReadOnlyDictionary<string, DenseTensor> inputs, double lossWeight = 1)
        {
            if (Refusal is not null)
            {
                throw Refusal;
            }

            Weights.Add(lossWeight);
            return losses[Math.Min(Weights.Count, losses.Length) - 1];
        }

        public double OptimizerStep()
        {
            if (Overflows > 0)
            {
                return double.PositiveInfinity;
            }

            Rates.Add(LearningRate);
            return Norm;
        }

        public bool ReduceLossScale() => Overflows > 0 && Overflows-- > 0;

        public void LazyResetGrad() => Resets++;

        public EvalStepResult EvalStep(IReadOnlyDictionary<string, DenseTensor> inputs, params IReadOnlyCollection<string> outputs) => throw new NotSupportedException();

        public DenseTensor GetParameter(string name) => throw new NotSupportedException();

        public void SetParameter(string name, ITensor value) => throw new NotSupportedException();

        public DenseTensor GetGradient(string name) => throw new NotSupportedException();

        public EngineState SaveState() => throw new NotSupportedException();

        public void LoadState(EngineState state) => throw new NotSupportedException();

        public void Dispose()
        {
        }
    }
}
