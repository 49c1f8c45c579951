namespace OrtQLoRA.Graph.IR;

/// <summary>A model: a graph, the functions it calls, and the header of the file.</summary>
public sealed class OnnxModel : IDisposable
{
    private readonly List<IDisposable> _resources = [];

    /// <summary>Creates a model around a graph.</summary>
    public OnnxModel(OnnxGraph graph)
    {
        Graph = graph;
    }

    /// <summary>The main graph.</summary>
    public OnnxGraph Graph { get; }

    /// <summary>Version of the file format.</summary>
    public long IrVersion { get; set; } = 10;

    /// <summary>Operator sets in use: domain (empty for ONNX's own) to version.</summary>
    public IDictionary<string, long> OpsetImports { get; } = new OrderedDictionary<string, long>();

    /// <summary>Version of ONNX's own operator set.</summary>
    /// <exception cref="ModelFormatException">The model imports none.</exception>
    public long Opset
    {
        get => OpsetImports.TryGetValue("", out long version)
            ? version
            : throw new ModelFormatException("The model imports no version of ONNX's own operators (domain ''); its header is damaged.");
        set => OpsetImports[""] = value;
    }

    /// <summary>Functions, in file order.</summary>
    public IList<OnnxFunction> Functions { get; } = [];

    /// <summary>Name of the program that wrote the model.</summary>
    public string? ProducerName { get; set; }

    /// <summary>Version of that program.</summary>
    public string? ProducerVersion { get; set; }

    /// <summary>Domain of the model, a reverse host name by convention.</summary>
    public string? Domain { get; set; }

    /// <summary>Version of the model itself.</summary>
    public long? ModelVersion { get; set; }

    /// <summary>A note to readers, if the model has one.</summary>
    public string? DocString { get; set; }

    /// <summary>
    /// The architecture that a configuration beside the file names (<c>model_type</c> of config.json, <c>type</c> of
    /// genai_config.json), such as <c>gemma2</c>; null where nothing says. It is not part of the file.
    /// </summary>
    public string? ModelType { get; set; }

    /// <summary>Key/value pairs of the file.</summary>
    public IDictionary<string, string> Metadata { get; } = new OrderedDictionary<string, string>();

    /// <summary>Fields of the file that the IR does not model, in serialized form, for the round trip.</summary>
    public ReadOnlyMemory<byte> Unmodelled { get; set; }

    /// <summary>Keeps a resource (a mapped file) until the model is disposed.</summary>
    public void Own(IDisposable resource) => _resources.Add(resource);

    /// <summary>Releases mapped files; tensors that lie in them can no longer be read.</summary>
    public void Dispose()
    {
        foreach (IDisposable resource in _resources)
        {
            resource.Dispose();
        }

        _resources.Clear();
    }
}
