using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Tests.Training;

/// <summary>What options do to a run, seen in its adapter and metrics.</summary>
[TestClass]
public sealed class LoopOptionTests
{
    private const float FirstEmaDecay = 2f / 11;

    [TestMethod]
    public void EarlyStopping_NoGain_EndsAfterPatienceAndStaysEnded()
    {
        using TrainingFolder folder = new();
        TrainingOptions options = folder.Options("run", 20);
        options.LearningRate = 0;
        options.EvalData = folder.File("eval.jsonl");
        options.EvalEvery = 2;
        options.EarlyStopping = 2;
        options.SaveEvery = 10;

        Assert.HasCount(6, QLoraTrainer.Run(options).Steps);
        options.Resume = true;
        Assert.HasCount(6, QLoraTrainer.Run(options).Steps);
    }

    [TestMethod]
    public void Run_OptionsThatDoNotFitTheModel_LeavesNoFolderOfItsOwn()
    {
        using TrainingFolder folder = new();
        TrainingOptions options = folder.Options("run", 1);
        options.Out = Path.Combine(folder.File("runs"), "first");
        options.Targets = ModuleSelector.OfNames("nothing");

        Assert.ThrowsExactly<ConfigurationException>(() => QLoraTrainer.Run(options));
        Assert.IsFalse(Directory.Exists(folder.File("runs")));

        Directory.CreateDirectory(options.Out);
        Assert.ThrowsExactly<ConfigurationException>(() => QLoraTrainer.Run(options));
        Assert.IsTrue(Directory.Exists(options.Out), "A folder that was there before stays.");
    }

    [TestMethod]
    public void LoadBest_LaterStepsAreWorse_HandsOutTheBest()
    {
        using TrainingFolder folder = new();
        TrainingOptions options = folder.Options("run", 20);
        options.LearningRate = 0.05;
        options.EvalData = folder.File("backwards.jsonl");
        File.WriteAllText(options.EvalData, "{\"input_ids\": [20, 19, 18, 17, 16, 15, 14, 13]}\n{\"input_ids\": [9, 8, 7, 6, 5, 4, 3, 2]}\n");
        options.EvalEvery = 1;
        options.LoadBest = true;

        TrainingResult result = QLoraTrainer.Run(options);

        double best = result.Steps.Min(s => s.EvalLoss!.Value);
        Assert.IsLessThan(result.Steps[^1].EvalLoss!.Value, best);
        Assert.AreEqual(best, result.Evaluation!.Loss);
        CollectionAssert.AreEqual(Bytes(options.Out, "best"), Bytes(options.Out, "adapter"));
    }

    [TestMethod]
    public void Ema_FirstStep_IsTheFormula()
    {
        using TrainingFolder folder = new();
        Dictionary<string, float[]> start = Train(folder, "start", o => o.LearningRate = 0);
        Dictionary<string, float[]> trained = Train(folder, "trained", _ => { });
        Dictionary<string, float[]> averaged = Train(folder, "averaged", o => o.Ema = 0.99);

        foreach ((string name, float[] values) in averaged)
        {
            for (int i = 0; i < values.Length; i++)
            {
                Assert.AreEqual((FirstEmaDecay * start[name][i]) + ((1 - FirstEmaDecay) * trained[name][i]), values[i], 1e-7, name);
            }
        }
    }

    [TestMethod]
    public void LoraPlus_FirstStepOfSgd_ScalesBAlone()
    {
        using TrainingFolder folder = new();
        void Sgd(TrainingOptions o) => o.Optimizer = new OptimizerSettings { Name = "sgd", WeightDecay = 0 };
        Dictionary<string, float[]> plain = Train(folder, "plain", Sgd);
        Dictionary<string, float[]> plus = Train(folder, "plus", o =>
        {
            Sgd(o);
            o.LoraPlusRatio = 8;
        });

        foreach ((string name, float[] values) in plain)
        {
            float factor = name.Contains("lora_B", StringComparison.Ordinal) ? 8 : 1;
            CollectionAssert.AreEqual(values.Select(v => factor * v).ToArray(), plus[name], name);
        }
    }

    [TestMethod]
    public void NoDecay_NamedParameters_DoNotDecay()
    {
        using TrainingFolder folder = new();
        void Decay(TrainingOptions o) => o.Optimizer = new OptimizerSettings { WeightDecay = 0.5 };
        Dictionary<string, float[]> start = Train(folder, "start", o => o.LearningRate = 0);
        Dictionary<string, float[]> decayed = Train(folder, "decayed", Decay);
        Dictionary<string, float[]> kept = Train(folder, "kept", o =>
        {
            Decay(o);
            o.NoDecay = ["layers.0.self_attn.q_proj.lora_A"];
        });

        // B is 0 at the start, so A has no gradient in the first step and nothing but decay changes it.
        string q = start.Keys.Single(k => k.Contains("q_proj.lora_A", StringComparison.Ordinal));
        string k = start.Keys.Single(k => k.Contains("k_proj.lora_A", StringComparison.Ordinal));
        CollectionAssert.AreEqual(start[q], kept[q]);
        CollectionAssert.AreNotEqual(start[q], decayed[q]);
        CollectionAssert.AreEqual(decayed[k], kept[k]);
    }

    [TestMethod]
    public void Neftune_Noise_IsInTrainingOnlyAndNewInEachPass()
    {
        using TrainingFolder folder = new();
        TrainingResult Run(string name, double? alpha)
        {
            TrainingOptions options = folder.Options(name, 6);
            options.LearningRate = 0;
            options.Shuffle = false;
            options.NeftuneAlpha = alpha;
            options.EvalData = folder.File("eval.jsonl");
            return QLoraTrainer.Run(options);
        }

        TrainingResult plain = Run("plain", null);
        TrainingResult noisy = Run("noisy", 5);

        Assert.AreEqual(plain.Evaluation!.Loss, noisy.Evaluation!.Loss);
        Assert.AreEqual(plain.Steps[0].Loss, plain.Steps[3].Loss, "The second epoch sees the same batches.");
        Assert.AreNotEqual(plain.Steps[0].Loss, noisy.Steps[0].Loss);
        Assert.AreNotEqual(noisy.Steps[0].Loss, noisy.Steps[3].Loss);
    }

    [TestMethod]
    public void RollBack_Spikes_GoBackAndResumeToTheSameBits()
    {
        using TrainingFolder folder = new();
        TrainingOptions Options(string name, int steps)
        {
            TrainingOptions options = folder.Options(name, steps);
            options.OnDivergence = DivergencePolicy.RollBack;
            options.SpikeFactor = 1.02;
            options.SaveEvery = 3;
            options.LearningRate = 1e-4;
            return options;
        }

        TrainingResult whole = QLoraTrainer.Run(Options("whole", 40));
        TrainingOptions options = Options("cut", 31);
        QLoraTrainer.Run(options);
        options.MaxSteps = 40;
        options.Resume = true;
        TrainingResult resumed = QLoraTrainer.Run(options);

        Assert.IsTrue(whole.Steps.Any(s => s.Diverged == "rolled-back"));
        CollectionAssert.AreEqual(whole.Steps.Select(s => (s.Step, s.Loss, s.Diverged)).ToArray(), resumed.Steps.Select(s => (s.Step, s.Loss, s.Diverged)).ToArray());
        CollectionAssert.AreEqual(Bytes(whole.RunFolder, "adapter"), Bytes(resumed.RunFolder, "adapter"));
    }

    private static Dictionary<string, float[]> Train(TrainingFolder folder, string name, Action<TrainingOptions> change)
    {
        TrainingOptions options = folder.Options(name, 1);
        change(options);
        QLoraTrainer.Run(options);
        using AdapterWeights adapter = PeftAdapterFolder.Read(Path.Combine(options.Out, "adapter"));
        return adapter.Tensors.ToDictionary(t => t.Key, t => t.Value.ToFloats());
    }

    private static byte[] Bytes(string run, string adapter) => File.ReadAllBytes(Path.Combine(run, adapter, "adapter_model.safetensors"));
}
