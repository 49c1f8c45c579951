namespace OrtQLoRA.Graph.IR;

/// <summary>A function of the model: an operator of its own, defined by a body of nodes.</summary>
public sealed class OnnxFunction
{
    /// <summary>Creates a function.</summary>
    /// <param name="domain">Domain of the operator that the function defines.</param>
    /// <param name="name">Name of the operator.</param>
    /// <param name="overload">Which of several functions of the name; usually empty.</param>
    /// <param name="body">The body; its inputs and outputs are the function's.</param>
    public OnnxFunction(string domain, string name, string overload, OnnxGraph body)
    {
        Domain = Node.NormaliseDomain(domain);
        Name = name;
        Overload = overload;
        Body = body;
    }

    /// <summary>Domain of the operator that the function defines.</summary>
    public string Domain { get; }

    /// <summary>Name of the operator.</summary>
    public string Name { get; }

    /// <summary>Which of several functions of the name; usually empty.</summary>
    public string Overload { get; }

    /// <summary>The body; its inputs and outputs are the function's.</summary>
    public OnnxGraph Body { get; }

    /// <summary>Attributes that a caller must give.</summary>
    public IList<string> RequiredAttributes { get; } = [];

    /// <summary>Attributes that a caller may give, with defaults.</summary>
    public IDictionary<string, NodeAttribute> OptionalAttributes { get; } = new OrderedDictionary<string, NodeAttribute>();

    /// <summary>Operator sets that the body uses: domain to version.</summary>
    public IDictionary<string, long> OpsetImports { get; } = new OrderedDictionary<string, long>();

    /// <summary>A note to readers, if the model has one.</summary>
    public string? DocString { get; set; }

    /// <summary>Key/value pairs of the file.</summary>
    public IDictionary<string, string> Metadata { get; } = new OrderedDictionary<string, string>();

    /// <summary>Fields of the file that the IR does not model, in serialized form, for the round trip.</summary>
    public ReadOnlyMemory<byte> Unmodelled { get; set; }
}
