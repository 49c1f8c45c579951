using Google.Protobuf.Collections;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Turns graphs and functions into messages.</summary>
internal sealed class GraphProtoBuilder
{
    private readonly TensorProtoBuilder _tensors;
    private readonly AttributeProtoBuilder _attributes;

    public GraphProtoBuilder(TensorProtoBuilder tensors)
    {
        _tensors = tensors;
        _attributes = new AttributeProtoBuilder(tensors, BuildSubgraph);
    }

    /// <summary>Builds the message of a graph, save its dense initializers.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="initializers">Receives a message for each dense initializer, with name and details but without content.</param>
    public GraphProto Build(OnnxGraph graph, List<(Value Value, TensorProto Proto)> initializers)
    {
        GraphProto proto = FileDetails.Restore(GraphProto.Parser, graph.Unmodelled);
        proto.Name = graph.Name;
        if (graph.DocString is { } docString)
        {
            proto.DocString = docString;
        }

        Dictionary<string, TensorProto> details = proto.Initializer.ToDictionary(i => i.Name, StringComparer.Ordinal);
        proto.Initializer.Clear();
        foreach (Value value in graph.Initializers)
        {
            if (value.Initializer is SparseTensor sparse)
            {
                proto.SparseInitializer.Add(_tensors.Build(value.Name, sparse));
            }
            else
            {
                initializers.Add((value, details.GetValueOrDefault(value.Name) ?? new TensorProto { Name = value.Name }));
            }
        }

        proto.Input.AddRange(graph.Inputs.Select(BuildValueInfo));
        proto.Node.AddRange(graph.Nodes.Select(Build));
        proto.Output.AddRange(graph.Outputs.Select(BuildValueInfo));
        AddValueInfo(graph, proto.ValueInfo);
        FileDetails.Put(graph.Metadata, proto.MetadataProps);
        return proto;
    }

    /// <summary>Builds the message of a function.</summary>
    public FunctionProto Build(OnnxFunction function)
    {
        FunctionProto proto = FileDetails.Restore(FunctionProto.Parser, function.Unmodelled);
        proto.Name = function.Name;
        proto.Domain = function.Domain;
        if (function.Overload.Length > 0)
        {
            proto.Overload = function.Overload;
        }

        if (function.DocString is { } docString)
        {
            proto.DocString = docString;
        }

        if (function.Body.Initializers.Count > 0)
        {
            throw new GraphException(
                $"Function '{function.Domain}::{function.Name}' has the initializer '{function.Body.Initializers[0].Name}', which ONNX functions cannot hold. Make it a Constant node.");
        }

        proto.Input.AddRange(function.Body.Inputs.Select(i => i.Name));
        proto.Output.AddRange(function.Body.Outputs.Select(o => o.Name));
        proto.Node.AddRange(function.Body.Nodes.Select(Build));
        proto.Attribute.AddRange(function.RequiredAttributes);
        proto.AttributeProto.AddRange(function.OptionalAttributes.Select(a => _attributes.Build(a.Key, a.Value)));
        OpsetImports.Write(function.OpsetImports, proto.OpsetImport);
        AddValueInfo(function.Body, proto.ValueInfo);
        FileDetails.Put(function.Metadata, proto.MetadataProps);
        return proto;
    }

    /// <summary>Builds the description of a value.</summary>
    public static ValueInfoProto BuildValueInfo(Value value)
    {
        ValueInfoProto proto = FileDetails.Restore(ValueInfoProto.Parser, value.Unmodelled);
        proto.Name = value.Name;
        if (!Equals(TypeProtoConverter.ToType(proto.Type), value.Type))
        {
            proto.Type = value.Type is null ? null : TypeProtoConverter.ToProto(value.Type);
        }

        if (value.DocString is { } docString)
        {
            proto.DocString = docString;
        }

        FileDetails.Put(value.Metadata, proto.MetadataProps);
        return proto;
    }

    private GraphProto BuildSubgraph(OnnxGraph graph)
    {
        List<(Value Value, TensorProto Proto)> initializers = [];
        GraphProto proto = Build(graph, initializers);
        foreach ((Value value, TensorProto initializer) in initializers)
        {
            _tensors.Fill(initializer, value.Initializer!, ofAttribute: false);
            proto.Initializer.Add(initializer);
        }

        return proto;
    }

    private NodeProto Build(Node node)
    {
        NodeProto proto = FileDetails.Restore(NodeProto.Parser, node.Unmodelled);
        proto.OpType = node.OpType;
        if (node.Name.Length > 0)
        {
            proto.Name = node.Name;
        }

        if (node.Domain.Length > 0)
        {
            proto.Domain = node.Domain;
        }

        if (node.Overload.Length > 0)
        {
            proto.Overload = node.Overload;
        }

        if (node.DocString is { } docString)
        {
            proto.DocString = docString;
        }

        proto.Input.AddRange(node.Inputs.Select(i => i?.Name ?? ""));
        proto.Output.AddRange(node.Outputs.Select(o => o.Name));
        proto.Attribute.AddRange(node.Attributes.Select(a => _attributes.Build(a.Key, a.Value)));
        FileDetails.Put(node.Metadata, proto.MetadataProps);
        return proto;
    }

    private static void AddValueInfo(OnnxGraph graph, RepeatedField<ValueInfoProto> protos)
    {
        ValueInfoProto[] others = [.. protos.Where(p => !graph.TryGetValue(p.Name, out Value? value) || IsStillTrue(p, value))];
        protos.Clear();
        protos.AddRange(graph.Values.Where(IsDescribed).Select(BuildValueInfo));
        protos.AddRange(others);
    }

    private static bool IsDescribed(Value value) =>
        value.HasValueInfo && (value.Type is not null || value.Metadata.Count > 0 || value.DocString is not null || !value.Unmodelled.IsEmpty);

    // A description carried along gives way to the value's own, and goes when the graph has changed under it.
    private static bool IsStillTrue(ValueInfoProto proto, Value value) =>
        !IsDescribed(value)
        && (TypeProtoConverter.ToType(proto.Type) is not OnnxType.Tensor type
            || ((type.ElementType == value.ElementType || value.Type is null) && (type.Shape is null || value.Shape is null || type.Shape.Rank == value.Shape.Rank)));
}
