using OrtQLoRA.Trainer.Engines.OrtTraining;

namespace OrtQLoRA.OrtTraining.Tests;

/// <summary>The native library with the training API, without which these tests are skipped.</summary>
internal static class TrainingApi
{
    /// <summary>Skips the test where the ONNX Runtime in use has no training API.</summary>
    internal static void Require()
    {
        if (!TrainingRuntime.IsAvailable)
        {
            Assert.Inconclusive("The ONNX Runtime in use has no training API: build with -p:OrtFlavor=Training, or put the library at ../shared/ort/training-1.19.2 beside the repository.");
        }
    }
}
