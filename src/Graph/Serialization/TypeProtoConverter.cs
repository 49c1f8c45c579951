using Google.Protobuf;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;
using Dimension = OrtQLoRA.Graph.IR.Dimension;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Converts types between the file's messages and the IR.</summary>
internal static class TypeProtoConverter
{
    /// <summary>The type that a message states; null if it states none.</summary>
    public static OnnxType? ToType(TypeProto? proto) => proto?.ValueCase switch
    {
        null or TypeProto.ValueOneofCase.None => null,
        TypeProto.ValueOneofCase.TensorType => new OnnxType.Tensor((DataType)proto.TensorType.ElemType, ToShape(proto.TensorType.Shape)),
        TypeProto.ValueOneofCase.SparseTensorType =>
            new OnnxType.SparseTensor((DataType)proto.SparseTensorType.ElemType, ToShape(proto.SparseTensorType.Shape)),
        TypeProto.ValueOneofCase.SequenceType => new OnnxType.Sequence(ToType(proto.SequenceType.ElemType)),
        TypeProto.ValueOneofCase.OptionalType => new OnnxType.Optional(ToType(proto.OptionalType.ElemType)),
        TypeProto.ValueOneofCase.MapType => new OnnxType.Map((DataType)proto.MapType.KeyType, ToType(proto.MapType.ValueType)),
        _ => new OnnxType.Unmodelled(proto.ToByteArray()),
    };

    /// <summary>The message that states a type.</summary>
    public static TypeProto ToProto(OnnxType type) => type switch
    {
        OnnxType.Tensor t => new TypeProto { TensorType = new() { ElemType = (int)t.ElementType, Shape = ToProto(t.Shape) } },
        OnnxType.SparseTensor t => new TypeProto { SparseTensorType = new() { ElemType = (int)t.ElementType, Shape = ToProto(t.Shape) } },
        OnnxType.Sequence s => new TypeProto { SequenceType = new() { ElemType = ToProtoOrNull(s.Element) } },
        OnnxType.Optional o => new TypeProto { OptionalType = new() { ElemType = ToProtoOrNull(o.Element) } },
        OnnxType.Map m => new TypeProto { MapType = new() { KeyType = (int)m.Key, ValueType = ToProtoOrNull(m.Value) } },
        OnnxType.Unmodelled u => TypeProto.Parser.ParseFrom(u.Bytes.Span),
        _ => throw new InvalidOperationException($"No message states a type of class {type.GetType().Name}."),
    };

    private static TypeProto? ToProtoOrNull(OnnxType? type) => type is null ? null : ToProto(type);

    private static Shape? ToShape(TensorShapeProto? proto) => proto is null ? null : new Shape(proto.Dim.Select(ToDimension));

    private static Dimension ToDimension(TensorShapeProto.Types.Dimension proto) => proto.ValueCase switch
    {
        // Old exporters wrote -1 for "any".
        TensorShapeProto.Types.Dimension.ValueOneofCase.DimValue => proto.DimValue >= 0 ? Dimension.Of(proto.DimValue) : Dimension.Unknown,
        TensorShapeProto.Types.Dimension.ValueOneofCase.DimParam => Dimension.Of(proto.DimParam),
        _ => Dimension.Unknown,
    };

    private static TensorShapeProto? ToProto(Shape? shape)
    {
        if (shape is null)
        {
            return null;
        }

        TensorShapeProto proto = new();
        foreach (Dimension dimension in shape)
        {
            TensorShapeProto.Types.Dimension dim = new();
            if (dimension.Value is { } value)
            {
                dim.DimValue = value;
            }
            else if (dimension.Symbol is { } symbol)
            {
                dim.DimParam = symbol;
            }

            proto.Dim.Add(dim);
        }

        return proto;
    }
}
