using System.Collections.Immutable;
using System.Text;

namespace OrtQLoRA.Graph.IR;

/// <summary>
/// One attribute of a node: a kind and a value of the matching .NET type. Inside a function body an attribute
/// may instead refer to an attribute of the calling node (<see cref="ReferenceName"/>).
/// </summary>
public sealed class NodeAttribute
{
    private readonly object? _value;

    private NodeAttribute(AttributeKind kind, object? value, string? referenceName = null)
    {
        Kind = kind;
        _value = value;
        ReferenceName = referenceName;
    }

    /// <summary>Kind of the value.</summary>
    public AttributeKind Kind { get; }

    /// <summary>In a function body: the caller's attribute that supplies the value; null otherwise.</summary>
    public string? ReferenceName { get; }

    /// <summary>A note to readers, if the model has one.</summary>
    public string? DocString { get; init; }

    /// <summary>Fields of the file that the IR does not model, in serialized form, for the round trip.</summary>
    public ReadOnlyMemory<byte> Unmodelled { get; init; }

    /// <summary>An integer.</summary>
    public static implicit operator NodeAttribute(long value) => new(AttributeKind.Int, value);

    /// <summary>A float.</summary>
    public static implicit operator NodeAttribute(float value) => new(AttributeKind.Float, value);

    /// <summary>A string, stored as UTF-8.</summary>
    public static implicit operator NodeAttribute(string value) => OfBytes(Encoding.UTF8.GetBytes(value));

    /// <summary>Several integers.</summary>
    public static implicit operator NodeAttribute(long[] values) => new(AttributeKind.Ints, ImmutableArray.Create(values));

    /// <summary>Several floats.</summary>
    public static implicit operator NodeAttribute(float[] values) => new(AttributeKind.Floats, ImmutableArray.Create(values));

    /// <summary>A tensor in memory.</summary>
    public static implicit operator NodeAttribute(DenseTensor value) => Of((ITensor)value);

    /// <summary>A tensor.</summary>
    public static NodeAttribute Of(ITensor value) => new(AttributeKind.Tensor, value);

    /// <summary>A subgraph.</summary>
    public static NodeAttribute Of(OnnxGraph value) => new(AttributeKind.Graph, value);

    /// <summary>A byte string.</summary>
    public static NodeAttribute OfBytes(ReadOnlyMemory<byte> value) => new(AttributeKind.String, value);

    /// <summary>Integers.</summary>
    public static NodeAttribute Of(ImmutableArray<long> values) => new(AttributeKind.Ints, values);

    /// <summary>Floats.</summary>
    public static NodeAttribute Of(ImmutableArray<float> values) => new(AttributeKind.Floats, values);

    /// <summary>Byte strings.</summary>
    public static NodeAttribute Of(ImmutableArray<ReadOnlyMemory<byte>> values) => new(AttributeKind.Strings, values);

    /// <summary>Tensors.</summary>
    public static NodeAttribute Of(ImmutableArray<ITensor> values) => new(AttributeKind.Tensors, values);

    /// <summary>Subgraphs.</summary>
    public static NodeAttribute Of(ImmutableArray<OnnxGraph> values) => new(AttributeKind.Graphs, values);

    /// <summary>A type.</summary>
    public static NodeAttribute Of(OnnxType value) => new(AttributeKind.Type, value);

    /// <summary>Types.</summary>
    public static NodeAttribute Of(ImmutableArray<OnnxType> values) => new(AttributeKind.Types, values);

    /// <summary>A reference, inside a function body, to the calling node's attribute.</summary>
    public static NodeAttribute Reference(string callerAttribute, AttributeKind kind) => new(kind, null, callerAttribute);

    /// <summary>A kind whose value is kept only in <see cref="Unmodelled"/> bytes.</summary>
    public static NodeAttribute OfUnmodelled(AttributeKind kind, ReadOnlyMemory<byte> bytes) => new(kind, null) { Unmodelled = bytes };

    /// <summary>The integer.</summary>
    public long AsInt() => As<long>(AttributeKind.Int);

    /// <summary>The float.</summary>
    public float AsFloat() => As<float>(AttributeKind.Float);

    /// <summary>The string, read as UTF-8.</summary>
    public string AsString() => Encoding.UTF8.GetString(AsBytes().Span);

    /// <summary>The string's bytes.</summary>
    public ReadOnlyMemory<byte> AsBytes() => As<ReadOnlyMemory<byte>>(AttributeKind.String);

    /// <summary>The tensor.</summary>
    public ITensor AsTensor() => As<ITensor>(AttributeKind.Tensor);

    /// <summary>The subgraph.</summary>
    public OnnxGraph AsGraph() => As<OnnxGraph>(AttributeKind.Graph);

    /// <summary>The integers.</summary>
    public ImmutableArray<long> AsInts() => As<ImmutableArray<long>>(AttributeKind.Ints);

    /// <summary>The floats.</summary>
    public ImmutableArray<float> AsFloats() => As<ImmutableArray<float>>(AttributeKind.Floats);

    /// <summary>The byte strings.</summary>
    public ImmutableArray<ReadOnlyMemory<byte>> AsStrings() => As<ImmutableArray<ReadOnlyMemory<byte>>>(AttributeKind.Strings);

    /// <summary>The tensors.</summary>
    public ImmutableArray<ITensor> AsTensors() => As<ImmutableArray<ITensor>>(AttributeKind.Tensors);

    /// <summary>The subgraphs.</summary>
    public ImmutableArray<OnnxGraph> AsGraphs() => As<ImmutableArray<OnnxGraph>>(AttributeKind.Graphs);

    /// <summary>The type.</summary>
    public OnnxType AsType() => As<OnnxType>(AttributeKind.Type);

    /// <summary>The types.</summary>
    public ImmutableArray<OnnxType> AsTypes() => As<ImmutableArray<OnnxType>>(AttributeKind.Types);

    /// <summary>Every subgraph that the attribute holds; usually none.</summary>
    public IEnumerable<OnnxGraph> Subgraphs() => _value switch
    {
        OnnxGraph graph => [graph],
        ImmutableArray<OnnxGraph> graphs => graphs,
        _ => [],
    };

    /// <summary>The same attribute with what a file says beside its value.</summary>
    internal NodeAttribute WithFileDetails(string? docString, ReadOnlyMemory<byte> unmodelled) =>
        new(Kind, _value, ReferenceName) { DocString = docString, Unmodelled = unmodelled };

    private T As<T>(AttributeKind kind) => Kind == kind && _value is T value
        ? value
        : throw new GraphException($"An attribute of kind {Kind}{(ReferenceName is null ? "" : $" (reference to '{ReferenceName}')")} was read as {kind}.");
}
