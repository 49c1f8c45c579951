using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>
/// A way of fine-tuning: what it adds to a model and what it trains there. A new method is one folder (configuration,
/// plan) and one line in <see cref="AdapterRegistry"/>.
/// </summary>
public interface IAdapterMethod
{
    /// <summary>Name on the command line, for example <c>lora</c>.</summary>
    string Name { get; }

    /// <summary>PEFT's name (<c>peft_type</c>), or null if the method has no PEFT form and writes plain model weights.</summary>
    string? PeftType { get; }

    /// <summary>
    /// Keys of the configuration that mean something to the method: what options may set. Files may hold others, which are kept.
    /// </summary>
    IReadOnlySet<string> Keys { get; }

    /// <summary>Reads the method's configuration.</summary>
    /// <param name="json">Content of <c>adapter_config.json</c>.</param>
    /// <param name="source">Where it comes from, for messages.</param>
    /// <exception cref="ConfigurationException">Keys are wrong or ask for what is not supported; lists every fault.</exception>
    AdapterConfig ReadConfig(JsonObject json, string source);

    /// <summary>Decides what the method does to a model, without changing it.</summary>
    /// <exception cref="ConfigurationException">The configuration does not fit the model or the method.</exception>
    AdapterPlan Plan(LinearSites sites, AdapterConfig config);
}
