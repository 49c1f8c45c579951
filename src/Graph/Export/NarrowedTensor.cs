using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Export;

/// <summary>A float tensor in a narrower type, which must hold all its values.</summary>
internal sealed class NarrowedTensor : ComputedTensor
{
    private const float LargestHalf = 65504f;

    private readonly string _name;
    private readonly ITensor _source;

    /// <param name="name">Name of the weight, for messages.</param>
    /// <param name="source">The values.</param>
    /// <param name="type">The narrower type.</param>
    public NarrowedTensor(string name, ITensor source, DataType type)
        : base(type, source.Dims)
    {
        _name = name;
        _source = source;
    }

    protected override void Compute(long first, Span<float> values)
    {
        _source.ReadFloats(first, values);
        if (ElementType != DataType.Float16)
        {
            return;
        }

        for (int i = 0; i < values.Length; i++)
        {
            if (MathF.Abs(values[i]) > LargestHalf && float.IsFinite(values[i]))
            {
                throw new ConfigurationException(
                    $"Weight '{_name}' holds {values[i]} at element {first + i}, beyond fp16 (at most {LargestHalf}). Export with --dtype bf16 or fp32.");
            }
        }
    }
}
