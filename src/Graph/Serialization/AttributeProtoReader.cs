using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Turns attribute messages into attributes.</summary>
internal sealed class AttributeProtoReader(ReadContext context, Func<GraphProto, OnnxGraph, OnnxGraph> readSubgraph)
{
    /// <summary>Reads an attribute and clears the modelled fields of the message.</summary>
    /// <param name="proto">The message.</param>
    /// <param name="graph">The graph around the attribute's subgraphs.</param>
    /// <param name="owner">The node or function, for messages.</param>
    public NodeAttribute Read(AttributeProto proto, OnnxGraph graph, string owner)
    {
        string where = $"attribute '{proto.Name}' of {owner}";
        AttributeKind kind = proto.Type != 0 ? (AttributeKind)proto.Type : InferKind(proto);
        string? docString = proto.HasDocString ? proto.DocString : null;
        NodeAttribute attribute = ReadValue(proto, kind, graph, where);
        proto.ClearName();
        proto.ClearType();
        proto.ClearDocString();
        proto.ClearRefAttrName();
        return attribute.WithFileDetails(docString, FileDetails.Remainder(proto));
    }

    // Files of the format's first versions leave the type out.
    private static AttributeKind InferKind(AttributeProto proto) =>
        proto.HasF ? AttributeKind.Float
        : proto.HasI ? AttributeKind.Int
        : proto.HasS ? AttributeKind.String
        : proto.T is not null ? AttributeKind.Tensor
        : proto.G is not null ? AttributeKind.Graph
        : proto.Floats.Count > 0 ? AttributeKind.Floats
        : proto.Ints.Count > 0 ? AttributeKind.Ints
        : proto.Strings.Count > 0 ? AttributeKind.Strings
        : proto.Tensors.Count > 0 ? AttributeKind.Tensors
        : proto.Graphs.Count > 0 ? AttributeKind.Graphs
        : AttributeKind.Undefined;

    // The value's fields are cleared as they are read. Writers that leave out zeros (proto3) mean zero by absence.
    private NodeAttribute ReadValue(AttributeProto proto, AttributeKind kind, OnnxGraph graph, string where)
    {
        if (proto.RefAttrName.Length > 0)
        {
            return NodeAttribute.Reference(proto.RefAttrName, kind);
        }

        switch (kind)
        {
            case AttributeKind.Float:
                NodeAttribute real = proto.F;
                proto.ClearF();
                return real;
            case AttributeKind.Int:
                NodeAttribute integer = proto.I;
                proto.ClearI();
                return integer;
            case AttributeKind.String:
                NodeAttribute text = NodeAttribute.OfBytes(proto.S.Memory);
                proto.ClearS();
                return text;
            case AttributeKind.Floats:
                NodeAttribute reals = NodeAttribute.Of([.. proto.Floats]);
                proto.Floats.Clear();
                return reals;
            case AttributeKind.Ints:
                NodeAttribute integers = NodeAttribute.Of([.. proto.Ints]);
                proto.Ints.Clear();
                return integers;
            case AttributeKind.Strings:
                NodeAttribute texts = NodeAttribute.Of([.. proto.Strings.Select(s => s.Memory)]);
                proto.Strings.Clear();
                return texts;
            case AttributeKind.Type when TypeProtoConverter.ToType(proto.Tp) is { } type:
                proto.Tp = null;
                return NodeAttribute.Of(type);
            case AttributeKind.Types:
                return ReadTypes(proto, where);
            case AttributeKind.Tensor or AttributeKind.Tensors:
                return ReadTensors(proto, kind, where);
            case AttributeKind.Graph when proto.G is not null:
                OnnxGraph subgraph = readSubgraph(proto.G, graph);
                proto.G = null;
                return NodeAttribute.Of(subgraph);
            case AttributeKind.Graphs:
                ImmutableArray<OnnxGraph> subgraphs = [.. proto.Graphs.Select(g => readSubgraph(g, graph))];
                proto.Graphs.Clear();
                return NodeAttribute.Of(subgraphs);
            case AttributeKind.Graph or AttributeKind.Type:
                throw context.Error($"{where} is of kind {kind} but holds none. The file is damaged.");
            default:
                ExternalDataInliner.Inline(proto, context, where);
                return NodeAttribute.OfUnmodelled(kind, ReadOnlyMemory<byte>.Empty);
        }
    }

    private NodeAttribute ReadTypes(AttributeProto proto, string where)
    {
        ImmutableArray<OnnxType> types =
            [.. proto.TypeProtos.Select(t => TypeProtoConverter.ToType(t) ?? throw context.Error($"{where} holds a type that says nothing. The file is damaged."))];
        proto.TypeProtos.Clear();
        return NodeAttribute.Of(types);
    }

    private NodeAttribute ReadTensors(AttributeProto proto, AttributeKind kind, string where)
    {
        if (kind == AttributeKind.Tensor)
        {
            ITensor tensor = TensorProtoReader.Read(
                proto.T ?? throw context.Error($"{where} is of kind {kind} but holds none. The file is damaged."), context, where);
            TensorProtoReader.ClearModelled(proto.T);
            proto.T = proto.T.CalculateSize() == 0 ? null : proto.T;
            return NodeAttribute.Of(tensor);
        }

        ImmutableArray<ITensor> tensors = [.. proto.Tensors.Select((t, i) => TensorProtoReader.Read(t, context, $"tensor {i} of {where}"))];
        foreach (TensorProto tensor in proto.Tensors)
        {
            TensorProtoReader.ClearModelled(tensor);
        }

        FileDetails.ClearIfEmpty(proto.Tensors);
        return NodeAttribute.Of(tensors);
    }
}
