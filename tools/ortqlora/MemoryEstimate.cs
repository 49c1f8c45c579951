using System.Globalization;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Trainer.Inspection;

namespace OrtQLoRA.Cli;

/// <summary>A rough estimate of what training takes, from the sizes of weights and of the activations kept for backward.</summary>
/// <param name="Weights">Bytes of frozen weights as they are.</param>
/// <param name="QuantizedWeights">Bytes of frozen weights with the linears in int8; equal if nothing is quantized.</param>
/// <param name="Trainable">Bytes of what the method adds and trains, with gradients and the optimizer's states.</param>
/// <param name="Activations">Bytes of activations for one micro-batch.</param>
internal sealed record MemoryEstimate(long Weights, long QuantizedWeights, long Trainable, long Activations)
{
    /// <summary>Activations of a decoder block that backward needs, as a multiple of the inputs and outputs of its linears.</summary>
    private const double KeptShare = 1.5;

    internal static MemoryEstimate Of(OnnxModel model, LinearSites sites, MethodCost method, long tokens, IReadOnlyCollection<QuantizedLayer> quantized)
    {
        long weights = model.Graph.Initializers.Sum(i => i.Initializer!.ByteLength);
        long saved = quantized.Sum(q => q.OriginalBytes - q.QuantizedBytes);
        long perToken = sites.Sites.Where(s => s.Kind == LinearKind.Linear).Sum(s => s.InFeatures + s.OutFeatures);
        return new MemoryEstimate(weights, weights - saved, method.Bytes, (long)(perToken * tokens * sizeof(float) * KeptShare));
    }

    internal string Describe() => string.Create(
        CultureInfo.InvariantCulture,
        $"Memory to train, roughly: weights {Weights / 1e6:F0} MB ({QuantizedWeights / 1e6:F0} MB quantized), adapter with gradients and optimizer {Trainable / 1e6:F1} MB, activations {Activations / 1e6:F0} MB a micro-batch plus attention.");
}
