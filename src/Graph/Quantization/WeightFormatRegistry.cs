using OrtQLoRA.Graph.Quantization.Eetq;

namespace OrtQLoRA.Graph.Quantization;

/// <summary>The known weight formats by name.</summary>
public sealed class WeightFormatRegistry
{
    private readonly SortedDictionary<string, IWeightFormat> _formats = new(StringComparer.Ordinal);

    /// <summary>Every format that ships with the project.</summary>
    public static WeightFormatRegistry Default { get; } = new WeightFormatRegistry()
        .Add(new EetqInt8Format())
        .Add(new EetqFp16Format());

    /// <summary>Names of the known formats, in order.</summary>
    public IReadOnlyCollection<string> Names => _formats.Keys;

    /// <summary>Adds a format.</summary>
    /// <exception cref="ArgumentException">The name is taken.</exception>
    public WeightFormatRegistry Add(IWeightFormat format)
    {
        ArgumentNullException.ThrowIfNull(format);
        if (!_formats.TryAdd(format.Name, format))
        {
            throw new ArgumentException($"A weight format '{format.Name}' is registered already.", nameof(format));
        }

        return this;
    }

    /// <summary>The format of a name.</summary>
    /// <exception cref="ConfigurationException">There is none.</exception>
    public IWeightFormat Get(string name) => _formats.TryGetValue(name, out IWeightFormat? format)
        ? format
        : throw new ConfigurationException($"quant: there is no weight format '{name}'; known are {string.Join(", ", Names)}.");
}
