using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>
/// An adapter outside a graph: configuration and tensors by the keys of its file, in PyTorch's orientation. Tensors read
/// from a file stay in it until they are asked for.
/// </summary>
public sealed class AdapterWeights : IDisposable
{
    private readonly IDisposable? _file;

    /// <summary>Creates an adapter.</summary>
    /// <param name="method">The method; null if only tensors are known.</param>
    /// <param name="config">The configuration; null if only tensors are known.</param>
    /// <param name="tensors">Tensors by key.</param>
    /// <param name="source">Where they come from, for messages.</param>
    /// <param name="file">Released with this object.</param>
    public AdapterWeights(
        IAdapterMethod? method, AdapterConfig? config, IReadOnlyDictionary<string, ITensor> tensors, string source = "memory", IDisposable? file = null)
    {
        Method = method;
        Config = config;
        Tensors = tensors;
        Source = source;
        _file = file;
    }

    /// <summary>The method; null if only tensors are known.</summary>
    public IAdapterMethod? Method { get; }

    /// <summary>The configuration; null if only tensors are known.</summary>
    public AdapterConfig? Config { get; }

    /// <summary>Tensors by the keys of the file.</summary>
    public IReadOnlyDictionary<string, ITensor> Tensors { get; }

    /// <summary>
    /// The adapter's tensors at the start of training by file key, where the base was changed by them (PiSSA and its kin) and
    /// cannot be restored from the configuration alone; empty otherwise.
    /// </summary>
    public IReadOnlyDictionary<string, ITensor> Start { get; init; } = new Dictionary<string, ITensor>();

    /// <summary>Where the adapter comes from, for messages.</summary>
    public string Source { get; }

    /// <summary>Method and configuration of an adapter that has both.</summary>
    /// <exception cref="ConfigurationException">It is a file of tensors alone.</exception>
    public (IAdapterMethod Method, AdapterConfig Config) RequireConfig() => Method is not null && Config is not null
        ? (Method, Config)
        : throw new ConfigurationException(
            $"{Source} holds tensors but no configuration, so that rank, scaling and targets are not known. Give the adapter's folder instead.");

    /// <inheritdoc/>
    public void Dispose() => _file?.Dispose();

    /// <summary>
    /// The tensors under the keys that a plan expects. Keys may lack PEFT's prefix or hold the adapter's name, and a model
    /// exported inside a wrapper class has one more segment in front of every path than the adapter, or one less.
    /// </summary>
    internal IReadOnlyDictionary<string, ITensor> KeysFor(AdapterPlan plan)
    {
        HashSet<string> expected = [.. plan.Tensors.Select(t => t.FileKey), .. plan.TrainedWeights.Select(t => t.FileKey)];
        bool isPeft = expected.Any(k => k.StartsWith(PeftKeys.Prefix, StringComparison.Ordinal));
        Dictionary<string, ITensor> tensors = new(StringComparer.Ordinal);
        foreach ((string key, ITensor tensor) in Tensors)
        {
            tensors[isPeft ? PeftKeys.Normalise(key) : key] = tensor;
        }

        string prefix = isPeft ? PeftKeys.Prefix : "";
        return tensors.Keys.Any(expected.Contains) || Rename(prefix, tensors.Keys, expected) is not { } rename
            ? tensors
            : tensors.ToDictionary(t => rename(t.Key), t => t.Value, StringComparer.Ordinal);
    }

    private static Func<string, string>? Rename(string prefix, IEnumerable<string> keys, HashSet<string> expected)
    {
        string[] paths = [.. keys.Where(k => k.StartsWith(prefix, StringComparison.Ordinal)).Select(k => k[prefix.Length..])];
        foreach (string target in expected.Select(k => k[prefix.Length..]))
        {
            if (paths.FirstOrDefault(p => target.EndsWith("." + p, StringComparison.Ordinal)) is { } shorter)
            {
                string wrapper = target[..^shorter.Length];
                return key => key.StartsWith(prefix, StringComparison.Ordinal) ? prefix + wrapper + key[prefix.Length..] : key;
            }

            if (paths.FirstOrDefault(p => p.EndsWith("." + target, StringComparison.Ordinal)) is { } longer)
            {
                string wrapper = prefix + longer[..^target.Length];
                return key => key.StartsWith(wrapper, StringComparison.Ordinal) ? prefix + key[wrapper.Length..] : key;
            }
        }

        return null;
    }
}
