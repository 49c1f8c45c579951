using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Onnx;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;

namespace OrtQLoRA.Graph.Adapters.Peft;

/// <summary>
/// Adapters on disk. Methods that PEFT knows are a folder as its <c>save_pretrained</c> writes it:
/// <c>adapter_config.json</c> and <c>adapter_model.safetensors</c>. Others (full fine-tuning, biases) have no configuration
/// file: <c>adapter_model.safetensors</c> holds the changed weights under PyTorch's names, and the method in its metadata.
/// </summary>
public static class PeftAdapterFolder
{
    /// <summary>Name of the configuration file.</summary>
    public const string ConfigFile = "adapter_config.json";

    /// <summary>Name of the weights file.</summary>
    public const string WeightsFile = "adapter_model.safetensors";

    /// <summary>
    /// Name of the file that holds the tensors at the start of training, where the base was changed by them; PEFT does not
    /// read it.
    /// </summary>
    public const string StartFile = "initial_adapter.safetensors";

    private const string MethodKey = "ortqlora.method";
    private const string ConfigKey = "ortqlora.config";

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, NewLine = "\n" };

    // PyTorch's loaders look for this.
    private static readonly KeyValuePair<string, string> Format = new("format", "pt");

    /// <summary>Reads an adapter: a folder with configuration, a safetensors file with tensors alone, or an <c>.onnx_adapter</c> file.</summary>
    /// <param name="path">The folder or file.</param>
    /// <param name="registry">Known methods; null for <see cref="AdapterRegistry.Default"/>.</param>
    /// <returns>The adapter; dispose it to release the mapped file.</returns>
    /// <exception cref="ModelFormatException">A file is absent, truncated or malformed.</exception>
    /// <exception cref="ConfigurationException">The configuration asks for what is not supported; lists every fault.</exception>
    public static AdapterWeights Read(string path, AdapterRegistry? registry = null)
    {
        registry ??= AdapterRegistry.Default;
        if (!Directory.Exists(path))
        {
            return !File.Exists(path) ? throw new ModelFormatException($"There is no adapter at '{path}': neither a folder with {ConfigFile} nor a safetensors file.")
                : path.EndsWith(OnnxAdapterFile.Extension, StringComparison.OrdinalIgnoreCase) ? OnnxAdapterReader.Read(path)
                : ReadFile(path, registry);
        }

        string weights = Path.Combine(path, WeightsFile);
        if (!File.Exists(Path.Combine(path, ConfigFile)) && File.Exists(weights))
        {
            return ReadFile(weights, registry);
        }

        (IAdapterMethod method, AdapterConfig config) = ReadConfig(path, registry);
        if (!File.Exists(weights) && File.Exists(Path.Combine(path, "adapter_model.bin")))
        {
            throw new ModelFormatException(
                $"'{path}' holds its weights as adapter_model.bin, a pickle, which can run code and is not read. Save the adapter again in PEFT with safe_serialization=True.");
        }

        SafetensorsFile file = SafetensorsFile.Open(weights);
        return new AdapterWeights(method, config, file.Tensors, $"'{weights}'", file) { Start = ReadStart(path) };
    }

    /// <summary>Reads the configuration of a folder alone.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="registry">Known methods; null for <see cref="AdapterRegistry.Default"/>.</param>
    /// <exception cref="ModelFormatException">The file is absent or no JSON object.</exception>
    /// <exception cref="ConfigurationException">The configuration asks for what is not supported; lists every fault.</exception>
    public static (IAdapterMethod Method, AdapterConfig Config) ReadConfig(string folder, AdapterRegistry? registry = null)
    {
        string path = Path.Combine(folder, ConfigFile);
        JsonObject json = ReadJson(path);
        if (json["peft_type"] is not JsonValue type || type.GetValueKind() != JsonValueKind.String)
        {
            throw new ModelFormatException($"'{path}' does not say which method the adapter uses: the key peft_type is missing.");
        }

        IAdapterMethod method = (registry ?? AdapterRegistry.Default).GetByPeftType(type.GetValue<string>(), $"'{path}'");
        return (method, method.ReadConfig(json, $"'{path}'"));
    }

    /// <summary>Writes an adapter; each file appears whole or not at all.</summary>
    /// <param name="folder">The folder, created if absent.</param>
    /// <param name="weights">The adapter with method and configuration.</param>
    /// <exception cref="FileWriteException">A file cannot be written.</exception>
    public static void Write(string folder, AdapterWeights weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        if (weights.Method is not { } method || weights.Config is not { } config)
        {
            throw new ArgumentException("An adapter without method and configuration cannot be written as a folder.", nameof(weights));
        }

        Directory.CreateDirectory(folder);
        IEnumerable<KeyValuePair<string, ITensor>> tensors = weights.Tensors.OrderBy(t => t.Key, StringComparer.Ordinal);
        if (method.PeftType is null)
        {
            SafetensorsWriter.Write(
                Path.Combine(folder, WeightsFile), tensors, [Format, new(MethodKey, method.Name), new(ConfigKey, config.ToJson().ToJsonString())]);
            return;
        }

        SafetensorsWriter.Write(Path.Combine(folder, WeightsFile), tensors, [Format]);
        if (weights.Start.Count > 0)
        {
            SafetensorsWriter.Write(Path.Combine(folder, StartFile), weights.Start.OrderBy(t => t.Key, StringComparer.Ordinal), [Format]);
        }

        AtomicFile.Write(Path.Combine(folder, ConfigFile), stream => stream.Write(JsonSerializer.SerializeToUtf8Bytes(config.ToJson(), Indented)));
    }

    private static Dictionary<string, ITensor> ReadStart(string folder)
    {
        string path = Path.Combine(folder, StartFile);
        if (!File.Exists(path))
        {
            return [];
        }

        using SafetensorsFile file = SafetensorsFile.Open(path);
        return file.Tensors.ToDictionary(t => t.Key, t => (ITensor)DenseTensor.Of([.. t.Value.Dims], t.Value.ToFloats()), StringComparer.Ordinal);
    }

    private static AdapterWeights ReadFile(string path, AdapterRegistry registry)
    {
        SafetensorsFile file = SafetensorsFile.Open(path);
        try
        {
            string source = $"'{path}'";
            IAdapterMethod? method = file.Metadata.TryGetValue(MethodKey, out string? name) ? registry.Get(name) : null;
            AdapterConfig? config = method is not null && file.Metadata.TryGetValue(ConfigKey, out string? json)
                ? method.ReadConfig(ParseJson(json, source), source)
                : null;
            return new AdapterWeights(method, config, file.Tensors, source, file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static JsonObject ReadJson(string path)
    {
        try
        {
            return ParseJson(File.ReadAllText(path), $"'{path}'");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelFormatException($"'{path}' cannot be read: {e.Message}", e);
        }
    }

    private static JsonObject ParseJson(string text, string source)
    {
        try
        {
            return JsonNode.Parse(text, documentOptions: new JsonDocumentOptions { MaxDepth = 64 }) as JsonObject
                ?? throw new ModelFormatException($"{source} holds no JSON object.");
        }
        catch (JsonException e)
        {
            throw new ModelFormatException($"{source} is no JSON: {e.Message}", e);
        }
    }
}
