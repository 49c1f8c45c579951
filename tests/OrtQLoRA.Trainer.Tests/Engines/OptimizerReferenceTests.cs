using System.Runtime.InteropServices;
using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Tests.Engines;

/// <summary>The optimizer models on ONNX Runtime against PyTorch's formulas written out in double.</summary>
[TestClass]
public sealed class OptimizerReferenceTests
{
    private const int Steps = 200;

    [TestMethod]
    [DataRow(0.9, 0.999, 1e-8, 0.0, 0.0, false)]
    [DataRow(0.9, 0.999, 1e-8, 0.1, 0.5, false)]
    [DataRow(0.8, 0.95, 1e-4, 0.01, 0.0, false)]
    [DataRow(0.0, 0.5, 1e-8, 0.0, 0.01, false)]
    [DataRow(0.9, 0.999, 1e-8, 0.0, 0.0, true)]
    [DataRow(0.9, 0.999, 1e-8, 0.1, 0.5, true)]
    [DataRow(0.8, 0.95, 1e-4, 0.01, 0.0, true)]
    [DataRow(0.0, 0.5, 1e-8, 0.0, 0.01, true)]
    public void OptimizerStep_AdamW_FollowsPyTorch(double beta1, double beta2, double eps, double decay, double maxNorm, bool isNative)
    {
        double[] m = [];
        double[] v = [];
        Compare(new AdamWOptimizer { Beta1 = beta1, Beta2 = beta2, Eps = eps, WeightDecay = decay }, maxNorm, (p, g, lr, t) =>
        {
            m = t == 1 ? new double[p.Length] : m;
            v = t == 1 ? new double[p.Length] : v;
            for (int i = 0; i < p.Length; i++)
            {
                p[i] *= 1 - (lr * decay);
                m[i] = (beta1 * m[i]) + ((1 - beta1) * g[i]);
                v[i] = (beta2 * v[i]) + ((1 - beta2) * g[i] * g[i]);
                p[i] -= lr / (1 - Math.Pow(beta1, t)) * m[i] / ((Math.Sqrt(v[i]) / Math.Sqrt(1 - Math.Pow(beta2, t))) + eps);
            }
        },
        isNative);
    }

    /// <summary>The native operator and its expansion, with two groups of their own rates and decays.</summary>
    [TestMethod]
    public void OptimizerStep_NativeAdamW_EqualsItsExpansion()
    {
        ParameterGroup[] groups = [new("slow", 0.5, 0), new("fast", 4, 0.3)];
        CustomOpLibrary library = RequireNative();
        using TrainingArtifacts portable = SmallArtifacts.Create(maxGradNorm: 0.3, groups: groups);
        using TrainingArtifacts native = SmallArtifacts.Create(maxGradNorm: 0.3, groups: groups, isNative: true);
        Assert.AreEqual(groups.Length, native.OptimizerModel.Graph.Nodes.Count(n => n.Is("AdamW", OpCatalog.Domain)));
        Assert.IsFalse(native.OptimizerModel.Graph.Nodes.Any(n => n.OpType == "Pow"), "nothing of the expansion is left");
        using SessionTrainingEngine expected = new(portable) { LearningRate = 0.01 };
        using SessionTrainingEngine actual = new(native, new EngineOptions { CustomOps = library }) { LearningRate = 0.01 };
        for (int step = 1; step <= 20; step++)
        {
            foreach (SessionTrainingEngine engine in new[] { expected, actual })
            {
                engine.LazyResetGrad();
                engine.TrainStep(SmallArtifacts.Batch(4, step));
            }

            double norm = expected.OptimizerStep();
            Assert.AreEqual(norm, actual.OptimizerStep(), 1e-5 * norm);
        }

        EngineState left = expected.SaveState();
        EngineState right = actual.SaveState();
        foreach (string name in new[] { "w", "b" })
        {
            TensorAssert.AreClose(left.Parameters[name].ToFloats(), right.Parameters[name].ToFloats(), 1e-5, name);
            foreach (string state in portable.OptimizerStates.Select(s => s.Name))
            {
                TensorAssert.AreClose(left.OptimizerStates[state][name].ToFloats(), right.OptimizerStates[state][name].ToFloats(), 5e-5, $"{state} of {name}");
            }
        }
    }

    [TestMethod]
    [DataRow(0.0, 0.0, false, 0.0, 0.0)]
    [DataRow(0.9, 0.0, false, 0.1, 0.5)]
    [DataRow(0.9, 0.3, false, 0.0, 0.0)]
    [DataRow(0.8, 0.0, true, 0.05, 0.0)]
    public void OptimizerStep_Sgd_FollowsPyTorch(double momentum, double dampening, bool nesterov, double decay, double maxNorm)
    {
        double[] buffer = [];
        SgdOptimizer optimizer = new() { Momentum = momentum, Dampening = dampening, Nesterov = nesterov, WeightDecay = decay };
        Compare(optimizer, maxNorm, (p, g, lr, t) =>
        {
            double[] previous = buffer;
            buffer = new double[p.Length];
            for (int i = 0; i < p.Length; i++)
            {
                double gradient = g[i] + (decay * p[i]);
                buffer[i] = t == 1 ? gradient : (momentum * previous[i]) + ((1 - dampening) * gradient);
                double direction = momentum == 0 ? gradient : nesterov ? gradient + (momentum * buffer[i]) : buffer[i];
                p[i] -= lr * direction;
            }
        });
    }

    /// <summary>Betas of 0 make the moments the gradient and its square, of which each is kept to half a step of its root.</summary>
    [TestMethod]
    public void OptimizerStep_AdamW8Bit_KeepsMomentsToHalfAStep()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create(new AdamW8BitOptimizer(new AdamWOptimizer { Beta1 = 0, Beta2 = 0 }));
        using SessionTrainingEngine engine = new(artifacts) { LearningRate = 0.01 };
        engine.TrainStep(SmallArtifacts.Batch(4, 1));
        float[] gradient = engine.GetGradient("w").ToFloats();

        engine.OptimizerStep();

        EngineState state = engine.SaveState();
        sbyte[] first = MemoryMarshal.Cast<byte, sbyte>(state.OptimizerStates["exp_avg_8bit"]["w"].Data.Span).ToArray();
        byte[] second = state.OptimizerStates["exp_avg_sq_8bit"]["w"].Data.ToArray();
        float largest = gradient.Max(Math.Abs);
        CollectionAssert.AreEqual(new[] { largest }, state.OptimizerStates["exp_avg_scale"]["w"].ToFloats());
        CollectionAssert.AreEqual(new[] { largest * largest }, state.OptimizerStates["exp_avg_sq_scale"]["w"].ToFloats());
        Assert.IsTrue(first.Any(c => c > 0) && first.Any(c => c < 0));
        for (int i = 0; i < gradient.Length; i++)
        {
            double share = Math.Sqrt(Math.Abs(gradient[i]) / (double)largest);
            Assert.AreEqual(127 * share * Math.Sign(gradient[i]), first[i], 0.5001, $"first moment {i}");
            Assert.AreEqual(Math.Max(1, 255 * share), second[i], 0.5001, $"second moment {i}");
        }
    }

    [TestMethod]
    public void OptimizerStep_AdamW8Bit_StaysNearAdamW()
    {
        using TrainingArtifacts exact = SmallArtifacts.Create(maxGradNorm: 0.5);
        using TrainingArtifacts compressed = SmallArtifacts.Create(new AdamW8BitOptimizer(new AdamWOptimizer()), maxGradNorm: 0.5);
        using SessionTrainingEngine expected = new(exact) { LearningRate = 0.01 };
        using SessionTrainingEngine actual = new(compressed) { LearningRate = 0.01 };
        float[] start = expected.GetParameter("w").ToFloats();
        for (int step = 1; step <= Steps; step++)
        {
            foreach (SessionTrainingEngine engine in new[] { expected, actual })
            {
                engine.LazyResetGrad();
                engine.TrainStep(SmallArtifacts.Batch(4, step));
                engine.OptimizerStep();
            }
        }

        float[] left = expected.GetParameter("w").ToFloats();
        float[] right = actual.GetParameter("w").ToFloats();
        double moved = Math.Sqrt(left.Zip(start, (l, s) => Math.Pow(l - s, 2)).Sum());
        double apart = Math.Sqrt(left.Zip(right, (l, r) => Math.Pow(l - r, 2)).Sum());
        Assert.IsGreaterThan(0, apart, "Rounded moments should show.");
        Assert.IsLessThan(0.05 * moved, apart);
    }

    [TestMethod]
    public void States_AdamW8Bit_TakeAQuarter()
    {
        const long Count = 1_000_000;
        long full = new AdamWOptimizer().States.Sum(s => s.ByteCount(Count));

        long compressed = new AdamW8BitOptimizer(new AdamWOptimizer()).States.Sum(s => s.ByteCount(Count));

        Assert.AreEqual(8 * Count, full);
        Assert.AreEqual(0.25, (double)compressed / full, 0.01);
    }

    [TestMethod]
    public void LoadState_AdamW8Bit_GoesOnToTheSameBits()
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create(new AdamW8BitOptimizer(new AdamWOptimizer()));
        using SessionTrainingEngine whole = new(artifacts) { LearningRate = 0.01 };
        using SessionTrainingEngine resumed = new(artifacts) { LearningRate = 0.01 };
        Run(whole, 1, 5);
        using TemporaryFolder folder = new();
        EngineStateFile.Write(folder.File("state.safetensors"), whole.SaveState());
        resumed.LoadState(EngineStateFile.Read(folder.File("state.safetensors")));
        Run(whole, 6, 12);
        Run(resumed, 6, 12);

        EngineState left = whole.SaveState();
        EngineState right = resumed.SaveState();
        foreach (string name in new[] { "w", "b" })
        {
            CollectionAssert.AreEqual(left.Parameters[name].Data.ToArray(), right.Parameters[name].Data.ToArray(), name);
            foreach (string state in left.OptimizerStates.Keys)
            {
                CollectionAssert.AreEqual(left.OptimizerStates[state][name].Data.ToArray(), right.OptimizerStates[state][name].Data.ToArray(), $"{state} of {name}");
            }
        }

        static void Run(SessionTrainingEngine engine, int from, int to)
        {
            for (int step = from; step <= to; step++)
            {
                engine.LazyResetGrad();
                engine.TrainStep(SmallArtifacts.Batch(4, step));
                engine.OptimizerStep();
            }
        }
    }

    [TestMethod]
    public void LoadState_StatesOfAnotherPrecision_AreRefused()
    {
        using TrainingArtifacts exact = SmallArtifacts.Create();
        using TrainingArtifacts compressed = SmallArtifacts.Create(new AdamW8BitOptimizer(new AdamWOptimizer()));
        using SessionTrainingEngine from = new(exact);
        using SessionTrainingEngine to = new(compressed);

        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => to.LoadState(from.SaveState())).Message, "exp_avg_8bit");
    }

    [TestMethod]
    public void OptimizerStep_Groups_HaveTheirOwnRateAndDecay()
    {
        ParameterGroup[] groups = [new("slow", 0.5, 0), new("fast", 4, 0.3)];
        using TrainingArtifacts artifacts = SmallArtifacts.Create(new SgdOptimizer { WeightDecay = 9 }, groups: groups);
        using SessionTrainingEngine engine = new(artifacts) { LearningRate = 0.01 };
        float[] w = engine.GetParameter("w").ToFloats();
        float b = engine.GetParameter("b").ToFloats()[0];
        engine.TrainStep(SmallArtifacts.Batch(4, 1));
        float[] gradient = engine.GetGradient("w").ToFloats();
        float biasGradient = engine.GetGradient("b").ToFloats()[0];

        double norm = engine.OptimizerStep();

        Assert.AreEqual(Math.Sqrt(gradient.Sum(g => (double)g * g) + ((double)biasGradient * biasGradient)), norm, 1e-5 * norm);
        float[] moved = engine.GetParameter("w").ToFloats();
        for (int i = 0; i < w.Length; i++)
        {
            Assert.AreEqual(w[i] - (0.005 * gradient[i]), moved[i], 1e-6);
        }

        Assert.AreEqual(b - (0.04 * (biasGradient + (0.3 * b))), engine.GetParameter("b").ToFloats()[0], 1e-6);
    }

    private static void Compare(IOptimizerDefinition optimizer, double maxNorm, Action<double[], double[], double, int> update, bool isNative = false)
    {
        using TrainingArtifacts artifacts = SmallArtifacts.Create(optimizer, maxNorm, isNative: isNative);
        using SessionTrainingEngine engine = new(artifacts, new EngineOptions { CustomOps = isNative ? RequireNative() : null });
        double[] expected = Read(engine.GetParameter);
        for (int step = 1; step <= Steps; step++)
        {
            engine.LazyResetGrad();
            engine.TrainStep(SmallArtifacts.Batch(4, step));
            double[] gradient = Read(engine.GetGradient);
            double norm = Math.Sqrt(gradient.Sum(g => g * g));
            double scale = maxNorm == 0 ? 1 : Math.Min(1, maxNorm / (norm + 1e-6));
            engine.LearningRate = 0.01 / step;

            Assert.AreEqual(norm, engine.OptimizerStep(), 1e-5 * norm);

            // Gradients are the engine's own, so that only the optimizer's rounding adds up.
            update(expected, [.. gradient.Select(g => g * scale)], engine.LearningRate, step);
        }

        double[] actual = Read(engine.GetParameter);
        for (int i = 0; i < actual.Length; i++)
        {
            Assert.AreEqual(expected[i], actual[i], 5e-6, $"element {i} after {Steps} steps");
        }
    }

    private static CustomOpLibrary RequireNative()
    {
        if (!CustomOpLibrary.TryLoad(out CustomOpLibrary? library, out string? reason))
        {
            Assert.Inconclusive(reason);
        }

        return library!;
    }

    private static double[] Read(Func<string, DenseTensor> read) => [.. read("w").ToFloats().Concat(read("b").ToFloats()).Select(f => (double)f)];
}
