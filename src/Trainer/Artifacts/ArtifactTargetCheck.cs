using System.Globalization;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Artifacts;

/// <summary>Checks artifacts against what browsers and mobile devices can run, and says what a program there has to know.</summary>
internal static class ArtifactTargetCheck
{
    /// <summary>
    /// Bytes that a 32-bit WebAssembly memory has for both models, gradients, moments and activations: 4 GB, of which the
    /// models alone may take no more than a quarter, since they are held as files and as sessions.
    /// </summary>
    private const long WebModelLimit = 1_000_000_000;

    /// <summary>What one message, and with it a model without a data file, may have.</summary>
    private const long OneFileLimit = 1_800_000_000;

    /// <summary>Checks artifacts.</summary>
    /// <returns>Remarks for the user.</returns>
    /// <exception cref="ConfigurationException">The target cannot run them; every reason is listed.</exception>
    internal static IReadOnlyList<string> Check(TrainingArtifacts artifacts, ArtifactOptions options)
    {
        if (options.Target == ArtifactTarget.Any)
        {
            return [];
        }

        string target = OptionText.Name(options.Target);
        List<string> faults = [];
        string[] own = [.. artifacts.TrainingModel.Graph.AllNodes().Where(n => n.Domain == "ortqlora").Select(n => n.OpType).Distinct().Order(StringComparer.Ordinal)];
        if (own.Length > 0)
        {
            faults.Add($"The graph uses the native operators {string.Join(", ", own)}, which '--target {target}' has no library of. Pass --ops portable.");
        }

        long weights = Bytes(artifacts.TrainingModel);
        long both = weights + Bytes(artifacts.EvalModel);
        long checkpoint = artifacts.Parameters.Sum(p => p.InitialValue.ByteLength) + artifacts.FrozenParameters.Sum(p => p.Value.ByteLength);
        if (options.Target == ArtifactTarget.Web && both + checkpoint > WebModelLimit)
        {
            faults.Add(Text(
                $"The models and the checkpoint hold {(both + checkpoint) / 1e6:F0} MB; a browser's 32-bit memory has room for some {WebModelLimit / 1e6:F0} MB beside gradients and activations. Quantize with --quant eetq, or take a smaller model."));
        }

        if (Math.Max(weights, checkpoint) > OneFileLimit)
        {
            faults.Add(Text(
                $"The weights of the training model ({weights / 1e6:F0} MB) or the checkpoint ({checkpoint / 1e6:F0} MB) would need a file beside it, which '--target {target}' cannot load. Quantize with --quant eetq, or take a smaller model."));
        }

        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }

        return options.Target == ArtifactTarget.Web ? Web(artifacts, options) : Mobile(artifacts);
    }

    private static List<string> Web(TrainingArtifacts artifacts, ArtifactOptions options)
    {
        List<string> remarks =
        [
            "Load them with onnxruntime-web 1.19.2, the last release with training: dist/ort.training.wasm.mjs, env.wasm.numThreads = 1.",
            $"Give runTrainStep an object whose keys stand in this order: {string.Join(", ", artifacts.UserInputs)}.",
            options.LearningRate is double rate
                ? Text($"The learning rate is {rate}: the optimizer model multiplies the session's fixed {OptimizerGroupState.DefaultLearningRate} by {rate / OptimizerGroupState.DefaultLearningRate:G6}.")
                : Text($"The learning rate is {OptimizerGroupState.DefaultLearningRate}, the only one that the browser's session knows; pass --lr for another."),
            "There is no way to save a checkpoint there: read the trained tensors with getContiguousParameters(true), through a module mended as docs/samples/web-finetune/mended.mjs does it: 1.19.2 corrupts its memory there.",
        ];
        return remarks;
    }

    private static List<string> Mobile(TrainingArtifacts artifacts) =>
    [
        "Load them with the training packages of release 1.19.2: onnxruntime-training-android (Java, Kotlin), onnxruntime-training-objc (iOS), or Microsoft.ML.OnnxRuntime.Training (.NET).",
        $"Inputs are given by position: {string.Join(", ", artifacts.UserInputs)}.",
        "Set the learning rate after every load; a checkpoint does not keep it.",
    ];

    private static long Bytes(OnnxModel model) => model.Graph.Initializers.Sum(i => i.Initializer!.ByteLength);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
