namespace OrtQLoRA.Graph.Quantization;

/// <summary>
/// A form in which frozen weights are held with fewer bits. A new format is one class here and one line in
/// <see cref="WeightFormatRegistry"/>.
/// </summary>
public interface IWeightFormat
{
    /// <summary>Name on the command line and in files, for example <c>eetq</c>.</summary>
    string Name { get; }

    /// <summary>Quantizes one weight; reads it in parts.</summary>
    /// <exception cref="ModelFormatException">The weight holds infinities, NaN or values beyond the format's range.</exception>
    IQuantizedWeight Quantize(WeightMatrix weight);
}
