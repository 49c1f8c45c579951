using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>One implementation of what an <see cref="OperatorCase"/> computes.</summary>
/// <param name="Name">What it is called in the table.</param>
/// <param name="IsNative">Whether it is the native library's.</param>
/// <param name="Build">Makes its model.</param>
internal sealed record OperatorContender(string Name, bool IsNative, Func<OnnxModel> Build)
{
    /// <summary>Key of the peak that bounds its products; null if they are not what costs.</summary>
    internal string? Peak { get; init; }
}
