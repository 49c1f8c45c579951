using OrtQLoRA.Graph.Adapters.AdaLora;
using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Boft;
using OrtQLoRA.Graph.Adapters.Hra;
using OrtQLoRA.Graph.Adapters.Ia3;
using OrtQLoRA.Graph.Adapters.LayerNormTuning;
using OrtQLoRA.Graph.Adapters.LoHa;
using OrtQLoRA.Graph.Adapters.LoKr;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Oft;
using OrtQLoRA.Graph.Adapters.Prompts;
using OrtQLoRA.Graph.Adapters.TrainableTokens;
using OrtQLoRA.Graph.Adapters.Vera;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>The known adapter methods by name.</summary>
public sealed class AdapterRegistry
{
    private readonly SortedDictionary<string, IAdapterMethod> _methods = new(StringComparer.Ordinal);

    /// <summary>Every method that ships with the project.</summary>
    public static AdapterRegistry Default { get; } = new AdapterRegistry()
        .Add(new LoraMethod())
        .Add(new AdaLoraMethod())
        .Add(new Ia3Method())
        .Add(new VeraMethod())
        .Add(new LoHaMethod())
        .Add(new LoKrMethod())
        .Add(new OftMethod())
        .Add(new BoftMethod())
        .Add(new HraMethod())
        .Add(new LayerNormMethod())
        .Add(new TrainableTokensMethod())
        .Add(new PromptTuningMethod())
        .Add(new PrefixTuningMethod())
        .Add(new FullMethod())
        .Add(new BitFitMethod());

    /// <summary>Names of the known methods, in order.</summary>
    public IReadOnlyCollection<string> Names => _methods.Keys;

    /// <summary>Adds a method.</summary>
    /// <exception cref="ArgumentException">Its name or PEFT type is taken.</exception>
    public AdapterRegistry Add(IAdapterMethod method)
    {
        ArgumentNullException.ThrowIfNull(method);
        if (_methods.Values.FirstOrDefault(m => m.Name == method.Name || (m.PeftType is not null && m.PeftType == method.PeftType)) is { } other)
        {
            throw new ArgumentException($"Adapter method '{method.Name}' ({method.PeftType}) clashes with '{other.Name}' ({other.PeftType}).", nameof(method));
        }

        _methods.Add(method.Name, method);
        return this;
    }

    /// <summary>The method of a name.</summary>
    /// <exception cref="ConfigurationException">There is none.</exception>
    public IAdapterMethod Get(string name) => _methods.TryGetValue(name, out IAdapterMethod? method)
        ? method
        : throw new ConfigurationException($"method: there is no adapter method '{name}'; known are {string.Join(", ", Names)}.");

    /// <summary>The method of a PEFT type.</summary>
    /// <param name="peftType">Value of <c>peft_type</c>.</param>
    /// <param name="source">The file, for messages.</param>
    /// <exception cref="ConfigurationException">There is none.</exception>
    public IAdapterMethod GetByPeftType(string peftType, string source) => _methods.Values.FirstOrDefault(m => m.PeftType == peftType)
        ?? throw new ConfigurationException(
            $"{source}: peft_type '{peftType}' is not supported; supported are {string.Join(", ", _methods.Values.Select(m => m.PeftType).OfType<string>())}.");
}
