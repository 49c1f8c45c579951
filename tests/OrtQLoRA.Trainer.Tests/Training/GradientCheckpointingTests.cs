using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Tests.Training;

[TestClass]
public sealed class GradientCheckpointingTests
{
    [TestMethod]
    [DataRow(QuantizationKind.None, 0.2)]
    public void Train_Recomputed_LearnsTheSameInLessMemory(QuantizationKind quantization, double dropout)
    {
        using TrainingFolder folder = new();
        Write(folder.File("deep.onnx"));
        (double[] kept, long keptBytes) = Train(folder, "kept", false, quantization, dropout);
        (double[] recomputed, long recomputedBytes) = Train(folder, "recomputed", true, quantization, dropout);

        for (int i = 0; i < kept.Length; i++)
        {
            Assert.AreEqual(kept[i], recomputed[i], 1e-5 * kept[i], $"step {i + 1}");
        }

        Assert.IsLessThan(0.6 * keptBytes, recomputedBytes, $"of {keptBytes}");
    }

    private static (double[] Losses, long Bytes) Train(TrainingFolder folder, string name, bool checkpointing, QuantizationKind quantization, double dropout)
    {
        TrainingOptions options = folder.Options(name, 3);
        options.Model = folder.File("deep.onnx");
        options.GradientCheckpointing = checkpointing;
        options.Quantization = quantization;
        options.Dropout = dropout;
        options.Ops = OpsMode.Portable;
        using TrainingMaterial material = TrainingMaterial.Read(options, null, NullCallback.Instance);
        Batch batch = material.Collator.Collate([.. material.Examples.Take(2)]);
        long bytes = ActivationMemory.Peak(
            material.Setup.Artifacts.TrainingModel, batch.Inputs.ToDictionary(i => i.Key, i => Shape.Of(i.Value.Dims))).Bytes;
        return ([.. QLoraTrainer.Run(options).Steps.Select(s => s.Loss)], bytes);
    }

    private static void Write(string path)
    {
        using OnnxModel model = LlamaModelBuilder.Build(new LlamaModelOptions
        {
            HiddenSize = 16,
            IntermediateSize = 48,
            LayerCount = 8,
            HeadCount = 2,
            VocabularySize = 32,
            ContextLength = 32,
            InitializerRange = 0.2,
        });
        OnnxModelWriter.Write(model, path);
    }
}
