using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Training.OrtTraining;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Artifacts;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.OrtTraining.Tests;

/// <summary>
/// Our engine over artifacts of the official generator, and our artifacts of the same base models: both must repeat the runs
/// that ONNX Runtime's Python API recorded.
/// </summary>
[TestClass]
public sealed class OfficialArtifactsTests
{
    private const double LossTolerance = 2e-6;
    private const double ParameterTolerance = 1e-5;

    private static readonly Dictionary<string, string> Losses = new()
    {
        ["a_mlp_crossentropy_adamw"] = "cross-entropy",
        ["b_mlp_crossentropy_sgd"] = "cross-entropy",
        ["c_mlp_mse_frozen"] = "mse",
        ["c2_mlp_bcewithlogits"] = "bce-with-logits",
        ["c3_mlp_l1"] = "l1",
        ["d_llama_lora"] = "cross-entropy",
    };

    public static IEnumerable<object[]> Runs => from name in OfficialRun.Names from accumulation in new[] { 1, 2 } select new object[] { name, accumulation };

    public static IEnumerable<object[]> Sets => OfficialRun.Names.Select(n => new object[] { n });

    [TestMethod]
    [DynamicData(nameof(Runs))]
    public void Train_OfficialArtifacts_RepeatsTheRecordedRun(string name, int accumulation)
    {
        TrainingApi.Require();
        using OfficialRun run = new(name);
        using OrtTrainingEngine engine = OrtTrainingEngine.Open(run.Folder, exposeGradients: true);
        CollectionAssert.AreEqual(run.Inputs, engine.UserInputs.ToArray());
        AssertRun(run, engine, accumulation, checkGradients: true);
    }

    [TestMethod]
    [DynamicData(nameof(Runs))]
    public void Train_OurArtifactsOfTheSameModel_RepeatsTheRecordedRun(string name, int accumulation)
    {
        TrainingApi.Require();
        using OfficialRun run = new(name);
        using TemporaryFolder folder = new();
        ArtifactsWriter.Write(
            new TrainingOptions
            {
                Model = run.File("model.onnx"),
                Out = folder.Path,
                Method = "full",
                Targets = ModuleSelector.OfRegex($"({string.Join('|', run.Trained.Select(Regex.Escape))})"),
                Optimizer = new OptimizerSettings { Name = name.EndsWith("sgd", StringComparison.Ordinal) ? "sgd" : "adamw", Eps = 1e-6, WeightDecay = 0 },
                MaxGradNorm = 0,
            },
            new ArtifactOptions { Loss = Losses[name], Frozen = FrozenWeightPlace.Checkpoint, AdamW = AdamWForm.HuggingFace });
        using OrtTrainingEngine engine = OrtTrainingEngine.Open(folder.Path, exposeGradients: true);
        CollectionAssert.AreEqual(run.Inputs, engine.UserInputs.ToArray());
        AssertRun(run, engine, accumulation, checkGradients: true);
    }

    [TestMethod]
    [DynamicData(nameof(Sets))]
    public void Open_CheckpointOfTheRuntime_GoesOnAsRecorded(string name)
    {
        TrainingApi.Require();
        using OfficialRun run = new(name);
        foreach ((string checkpoint, JsonNode? resumed) in run.Run(1)["resumed"]!.AsObject())
        {
            if (!File.Exists(run.File(checkpoint)))
            {
                // Left out of the largest set for its size.
                continue;
            }

            using OrtTrainingEngine engine = OrtTrainingEngine.Open(run.Folder, checkpoint: run.File(checkpoint));
            double[] expected = OfficialRun.Doubles(resumed!["losses"]!);
            for (int i = 0; i < expected.Length; i++)
            {
                engine.LazyResetGrad();
                AssertClose(expected[i], engine.TrainStep(run.Batch(i)), $"{checkpoint}, step {i}");
                engine.LearningRate = run.LearningRate / 2;
                engine.OptimizerStep();
            }
        }
    }

    private static void AssertRun(OfficialRun run, OrtTrainingEngine engine, int accumulation, bool checkGradients)
    {
        double[] losses = run.Losses(accumulation);
        double[] rates = run.LearningRates(accumulation);
        AssertClose((double)run.Run(accumulation)["eval_loss_before"]!, engine.EvalStep(run.EvalBatch()).Loss, "eval before");
        for (int step = 0; step < rates.Length; step++)
        {
            for (int i = 0; i < accumulation; i++)
            {
                int batch = (step * accumulation) + i;
                AssertClose(losses[batch], engine.TrainStep(run.Batch(batch)), $"loss {batch}");
            }

            if (step == 0 && checkGradients)
            {
                using SafetensorsFile gradients = run.FirstGradients(accumulation);
                foreach ((string parameter, ITensor gradient) in gradients.Tensors)
                {
                    AssertClose(gradient, engine.GetGradient(parameter), $"gradient of {parameter}");
                }
            }

            engine.LearningRate = rates[step];
            double norm = engine.OptimizerStep();
            Assert.IsTrue(double.IsFinite(norm) && norm > 0, $"norm {norm}");
            engine.LazyResetGrad();
        }

        AssertClose((double)run.Run(accumulation)["eval_loss_after"]!, engine.EvalStep(run.EvalBatch()).Loss, "eval after");
        using SafetensorsFile final = run.FinalParameters(accumulation);
        foreach ((string parameter, ITensor value) in final.Tensors)
        {
            AssertClose(value, engine.GetParameter(parameter), parameter);
        }
    }

    private static void AssertClose(double expected, double actual, string what) =>
        Assert.IsLessThanOrEqualTo(LossTolerance * Math.Max(1, Math.Abs(expected)), Math.Abs(expected - actual), $"{what}: {actual}, recorded {expected}");

    private static void AssertClose(ITensor expected, ITensor actual, string what)
    {
        float[] left = expected.ToFloats();
        float[] right = actual.ToFloats();
        double difference = Math.Sqrt(left.Zip(right, (l, r) => Math.Pow(l - (double)r, 2)).Sum());
        double size = Math.Sqrt(left.Sum(l => (double)l * l));
        Assert.IsLessThanOrEqualTo(ParameterTolerance * Math.Max(size, 1e-6), difference, $"{what}: differs by {difference} of {size}");
    }
}
