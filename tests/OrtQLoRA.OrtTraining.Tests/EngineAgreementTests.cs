using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Graph.Training.OrtTraining;
using OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;
using OrtQLoRA.TestKit;
using OrtQLoRA.TestKit.Conformance;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.OrtTraining.Tests;

/// <summary>The engine on ONNX Runtime's training session beside the session engine.</summary>
[TestClass]
public sealed class EngineAgreementTests
{
    [TestMethod]
    [DynamicData(nameof(ConformanceCase.All), typeof(ConformanceCase))]
    public void Train_OnTheTrainingSession_AgreesWithTheSessionEngine(string model, TrainingTask task, string method, QuantizationKind quantization)
    {
        TrainingApi.Require();
        using Engines engines = new(new ConformanceCase(model, task, method, quantization));
        ConformanceRun.AssertAgree(ConformanceRun.Of(engines.Session, engines.Batches), ConformanceRun.Of(engines.Ort, engines.Batches));
    }

    [TestMethod]
    public void LoadState_OfTheOtherEngine_GoesOnAsOneRun()
    {
        TrainingApi.Require();
        using Engines whole = new(Demo);
        using Engines parts = new(Demo);
        List<double> expected = [];
        List<double> actual = [];
        for (int part = 0; part < 3; part++)
        {
            // Session engine, training session, session engine.
            ITrainingEngine engine = part == 1 ? parts.Ort : parts.Session;
            if (part > 0)
            {
                engine.LoadState((part == 1 ? (ITrainingEngine)parts.Session : parts.Ort).SaveState());
                Assert.AreEqual(part * 4, engine.CompletedSteps);
            }

            for (int i = 0; i < 4; i++)
            {
                IReadOnlyDictionary<string, DenseTensor> batch = whole.Batches[(part * 4) + i];
                expected.Add(Step(whole.Session, batch));
                actual.Add(Step(engine, batch));
            }
        }

        foreach ((double left, double right) in expected.Zip(actual))
        {
            Assert.IsLessThanOrEqualTo(1e-5 * left, Math.Abs(left - right), $"{right} beside {left}");
        }
    }

    [TestMethod]
    public void SaveCheckpoint_AfterSteps_IsReadBackByUsAndByTheRuntime()
    {
        TrainingApi.Require();
        using TemporaryFolder folder = new();
        using Engines engines = new(Demo);
        Step(engines.Ort, engines.Batches[0]);
        Step(engines.Ort, engines.Batches[1]);
        engines.Ort.SaveCheckpoint(folder.File("checkpoint"));
        EngineState state = engines.Ort.SaveState();
        using OrtCheckpoint checkpoint = OrtCheckpointReader.Read(folder.File("checkpoint"));
        EngineState read = OrtCheckpointConverter.ToEngineState(checkpoint, [.. state.OptimizerStates.Keys]);
        Assert.AreEqual((2L, 2L), (read.CompletedSteps, read.CompletedPasses));
        foreach ((string name, DenseTensor value) in state.Parameters)
        {
            CollectionAssert.AreEqual(value.ToFloats(), read.Parameters[name].ToFloats(), name);
            CollectionAssert.AreEqual(state.OptimizerStates["exp_avg_sq"][name].ToFloats(), read.OptimizerStates["exp_avg_sq"][name].ToFloats(), name);
        }

        double loss = Step(engines.Ort, engines.Batches[2]);
        engines.Ort.LoadState(read);
        Assert.AreEqual(loss, Step(engines.Ort, engines.Batches[2]), "Same state, same batch, same bits.");
    }

    [TestMethod]
    public void OptimizerStep_GradientsNotFinite_ChangesNothing()
    {
        TrainingApi.Require();
        using Engines engines = new(Demo);
        string name = engines.Ort.Parameters[0].Name;
        float[] broken = engines.Ort.GetParameter(name).ToFloats();
        broken[0] = float.PositiveInfinity;
        engines.Ort.SetParameter(name, DenseTensor.Of(engines.Ort.Parameters[0].InitialValue.Dims, broken));
        CollectionAssert.AreEqual(broken, engines.Ort.GetParameter(name).ToFloats());
        float[] other = engines.Ort.GetParameter(engines.Ort.Parameters[1].Name).ToFloats();
        engines.Ort.TrainStep(engines.Batches[0]);
        Assert.IsFalse(double.IsFinite(engines.Ort.OptimizerStep()));
        Assert.AreEqual(0, engines.Ort.CompletedSteps);
        CollectionAssert.AreEqual(other, engines.Ort.GetParameter(engines.Ort.Parameters[1].Name).ToFloats());
    }

    [TestMethod]
    public void Open_CheckpointWithChangedBytes_GivesOurErrorOrTrains()
    {
        TrainingApi.Require();
        using OfficialRun run = new("a_mlp_crossentropy_adamw");
        using TemporaryFolder folder = new();
        byte[] original = File.ReadAllBytes(run.File("checkpoint"));
        string path = folder.File("checkpoint");
        for (int offset = 0; offset < original.Length; offset += 61)
        {
            byte[] changed = [.. original];
            changed[offset] ^= 0x81;
            File.WriteAllBytes(path, changed);
            try
            {
                using OrtTrainingEngine engine = OrtTrainingEngine.Open(run.Folder, checkpoint: path);
                engine.TrainStep(run.Batch(0));
            }
            catch (Graph.OrtQLoRAException e)
            {
                Assert.IsFalse(string.IsNullOrWhiteSpace(e.Message));
            }
        }
    }

    [TestMethod]
    public void TrainStep_WeightedBatchWithoutAnInputForIt_IsRefused()
    {
        TrainingApi.Require();
        using OfficialRun run = new("a_mlp_crossentropy_adamw");
        using OrtTrainingEngine engine = OrtTrainingEngine.Open(run.Folder);
        EngineException error = Assert.ThrowsExactly<EngineException>(() => engine.TrainStep(run.Batch(0), 0.5));
        StringAssert.Contains(error.Message, "loss_weight");
    }

    [TestMethod]
    public void Train_FromTheCommandLine_RunsOnTheTrainingSession()
    {
        TrainingApi.Require();
        using TemporaryFolder folder = new();
        using StringWriter output = new();
        using StringWriter error = new();
        string[] lines = [.. Enumerable.Range(0, 12).Select(i => $"{{\"input_ids\": [{i + 1}, {i + 2}, {i + 3}, {i + 4}, 5]}}\n")];
        string data = folder.Write("data.jsonl", string.Concat(lines));
        string[] arguments =
        [
            "train", "--model", Demo.Model, "--data", data, "--eval-data", data, "--rank", "4", "--max-steps", "6", "--batch", "2", "--grad-accum", "2", "--dropout", "0.1",
            "--out", folder.File("run"), "--engine", "ort-training",
        ];
        Assert.AreEqual(0, Cli.CommandLineApp.Run(arguments, output, error), error.ToString());
        Assert.IsTrue(File.Exists(folder.File("run/adapter/adapter_model.safetensors")));
    }

    private static ConformanceCase Demo => new("demo", TrainingTask.CausalLm, "lora", QuantizationKind.None);

    private static double Step(ITrainingEngine engine, IReadOnlyDictionary<string, DenseTensor> batch)
    {
        engine.LazyResetGrad();
        double loss = engine.TrainStep(batch);
        engine.LearningRate = ConformanceCase.LearningRate;
        engine.OptimizerStep();
        return loss;
    }

    /// <summary>Both engines over one model.</summary>
    private sealed class Engines : IDisposable
    {
        private readonly OnnxModel _model;
        private readonly AdapterSettings _settings;
        private readonly TrainingGraph _session;
        private readonly TrainingGraph _ort;

        internal Engines(ConformanceCase conformance)
        {
            TrainingOptions options = conformance.Options("unused");
            _model = OnnxModelReader.Read(options.Model);
            ModelFacts facts = ModelFacts.Read(_model);
            _settings = AdapterSettings.Create(options);
            _session = TrainingGraphSetup.Build(_model, facts, _settings, options, null, SessionDialect.Instance);
            _ort = TrainingGraphSetup.Build(_model, facts, _settings, options, null, new OrtTrainingDialect(new OrtTrainingOptions { HasEngineInputs = true }));
            Session = new SessionTrainingEngine(_session.Artifacts);
            Ort = new OrtTrainingEngine(_ort.Artifacts);
            Batches = conformance.Batches(facts);
        }

        internal SessionTrainingEngine Session { get; }

        internal OrtTrainingEngine Ort { get; }

        internal IReadOnlyList<IReadOnlyDictionary<string, DenseTensor>> Batches { get; }

        public void Dispose()
        {
            Session.Dispose();
            Ort.Dispose();
            _session.Dispose();
            _ort.Dispose();
            _settings.Dispose();
            _model.Dispose();
        }
    }
}
