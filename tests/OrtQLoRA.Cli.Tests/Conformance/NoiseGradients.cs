namespace OrtQLoRA.Cli.Tests.Conformance;

/// <summary>
/// Parameters whose gradient is zero in exact arithmetic: softmax does not see a shift of all keys, so the bias of a
/// key projection gets only rounding noise, which Adam blows up to steps of the learning rate. They are left out.
/// </summary>
internal static class NoiseGradients
{
    /// <summary>Hidden size of the GPT-2 fixture, whose fused c_attn holds queries, keys and values one after the other.</summary>
    private const int Gpt2Hidden = 48;

    /// <summary>Both tensors without the elements that hold noise.</summary>
    public static (float[] Expected, float[] Actual) LeaveOut(string name, float[] expected, float[] actual)
    {
        if (name.EndsWith("attention.self.key.bias", StringComparison.Ordinal) || name.EndsWith("attention.self.key.base_layer.bias", StringComparison.Ordinal))
        {
            return ([], []);
        }

        bool isFusedBias = name.Contains(".c_attn.", StringComparison.Ordinal) && name.EndsWith("bias", StringComparison.Ordinal);
        return isFusedBias && expected.Length == 3 * Gpt2Hidden
            ? (WithoutKeys(expected), WithoutKeys(actual))
            : (expected, actual);
    }

    private static float[] WithoutKeys(float[] values) => [.. values[..Gpt2Hidden], .. values[(2 * Gpt2Hidden)..]];
}
