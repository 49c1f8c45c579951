using Google.Protobuf;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Turns attributes into messages.</summary>
internal sealed class AttributeProtoBuilder(TensorProtoBuilder tensors, Func<OnnxGraph, GraphProto> buildSubgraph)
{
    /// <summary>Builds the message of an attribute.</summary>
    public AttributeProto Build(string name, NodeAttribute attribute)
    {
        AttributeProto proto = FileDetails.Restore(AttributeProto.Parser, attribute.Unmodelled);
        proto.Name = name;
        if (attribute.Kind != AttributeKind.Undefined)
        {
            proto.Type = (int)attribute.Kind;
        }

        if (attribute.DocString is { } docString)
        {
            proto.DocString = docString;
        }

        if (attribute.ReferenceName is { } reference)
        {
            proto.RefAttrName = reference;
        }
        else
        {
            FillValue(proto, attribute);
        }

        return proto;
    }

    private void FillValue(AttributeProto proto, NodeAttribute attribute)
    {
        switch (attribute.Kind)
        {
            case AttributeKind.Float:
                proto.F = attribute.AsFloat();
                break;
            case AttributeKind.Int:
                proto.I = attribute.AsInt();
                break;
            case AttributeKind.String:
                proto.S = UnsafeByteOperations.UnsafeWrap(attribute.AsBytes());
                break;
            case AttributeKind.Tensor:
                tensors.Fill(proto.T ??= new(), attribute.AsTensor(), ofAttribute: true);
                break;
            case AttributeKind.Graph:
                proto.G = buildSubgraph(attribute.AsGraph());
                break;
            case AttributeKind.Floats:
                proto.Floats.AddRange(attribute.AsFloats());
                break;
            case AttributeKind.Ints:
                proto.Ints.AddRange(attribute.AsInts());
                break;
            case AttributeKind.Strings:
                proto.Strings.AddRange(attribute.AsStrings().Select(s => UnsafeByteOperations.UnsafeWrap(s)));
                break;
            case AttributeKind.Tensors:
                FillTensors(proto, attribute);
                break;
            case AttributeKind.Graphs:
                proto.Graphs.AddRange(attribute.AsGraphs().Select(buildSubgraph));
                break;
            case AttributeKind.Type:
                proto.Tp = TypeProtoConverter.ToProto(attribute.AsType());
                break;
            case AttributeKind.Types:
                proto.TypeProtos.AddRange(attribute.AsTypes().Select(TypeProtoConverter.ToProto));
                break;
            default:
                // The remainder that the message was restored from holds the value.
                break;
        }
    }

    private void FillTensors(AttributeProto proto, NodeAttribute attribute)
    {
        int index = 0;
        foreach (ITensor tensor in attribute.AsTensors())
        {
            if (index == proto.Tensors.Count)
            {
                proto.Tensors.Add(new TensorProto());
            }

            tensors.Fill(proto.Tensors[index++], tensor, ofAttribute: true);
        }
    }
}
