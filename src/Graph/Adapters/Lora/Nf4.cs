using System.Numerics.Tensors;
using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>
/// Rounding to the 4-bit normal float of QLoRA (Dettmers et al. 2023, arXiv 2305.14314): blocks of 64 along the flattened
/// weight, each scaled by its largest magnitude.
/// </summary>
internal static class Nf4
{
    private const int Block = 64;

    private static readonly float[] Levels =
    [
        -1f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
        -0.09105003625154495f, 0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
        0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1f,
    ];

    /// <summary>The weight as it comes back from 4 bits.</summary>
    public static Matrix Round(Matrix weight)
    {
        Matrix rounded = weight.Clone();
        for (int start = 0; start < rounded.Values.Length; start += Block)
        {
            Span<float> block = rounded.Values.AsSpan(start, Math.Min(Block, rounded.Values.Length - start));
            float largest = TensorPrimitives.MaxMagnitude<float>(block);
            largest = Math.Abs(largest);
            foreach (ref float value in block)
            {
                value = largest == 0 ? 0 : Nearest(value / largest) * largest;
            }
        }

        return rounded;
    }

    private static float Nearest(float value)
    {
        int upper = Array.FindIndex(Levels, l => l >= value);
        return upper <= 0 ? (upper < 0 ? Levels[^1] : Levels[0])
            : value - Levels[upper - 1] <= Levels[upper] - value ? Levels[upper - 1] : Levels[upper];
    }
}
