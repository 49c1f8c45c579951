using System.Collections;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Tests.Serialization;

/// <summary>
/// Brings model messages to one form, so that two files that say the same compare equal: empty strings are absent,
/// tensors hold raw data, order is fixed where the format gives it no meaning.
/// </summary>
internal static class CanonicalProto
{
    public static ModelProto Read(string path) => Read(File.ReadAllBytes(path), Path.GetDirectoryName(Path.GetFullPath(path)));

    public static ModelProto Read(byte[] bytes, string? folder)
    {
        ModelProto proto = ModelProto.Parser.ParseFrom(bytes);
        ExternalDataReader externalData = new("test", folder, modelPath: null);
        Canonicalise(proto, new ReadContext("test", externalData));
        foreach (OrtQLoRA.Graph.IO.MappedFile file in externalData.Files)
        {
            file.Dispose();
        }

        return proto;
    }

    private static void Canonicalise(IMessage message, ReadContext context)
    {
        switch (message)
        {
            case TensorProto tensor:
                Canonicalise(tensor, context);
                break;
            case GraphProto graph:
                Sort(graph.Initializer, i => i.Name);
                Sort(graph.ValueInfo, v => v.Name);
                break;
            case FunctionProto function:
                Sort(function.ValueInfo, v => v.Name);
                break;
            case NodeProto node when node.Domain == "ai.onnx":
                node.ClearDomain();
                break;
            case OperatorSetIdProto opset when opset.Domain == "ai.onnx":
                opset.ClearDomain();
                break;
        }

        foreach (FieldDescriptor field in message.Descriptor.Fields.InFieldNumberOrder())
        {
            object? value = field.Accessor.GetValue(message);
            if (field.FieldType == FieldType.Message)
            {
                foreach (IMessage child in field.IsRepeated ? ((IEnumerable)value).Cast<IMessage>() : value is IMessage one ? [one] : [])
                {
                    Canonicalise(child, context);
                }
            }
            else if (value is "")
            {
                field.Accessor.Clear(message);
            }
        }
    }

    private static void Canonicalise(TensorProto tensor, ReadContext context)
    {
        ITensor content = TensorProtoReader.Read(tensor, context, tensor.Name);
        if (content is not StringTensor)
        {
            byte[] bytes = content.ToBytes();
            TensorProtoReader.ClearModelled(tensor);
            tensor.Dims.AddRange(content.Dims);
            tensor.DataType = (int)content.ElementType;
            tensor.RawData = ByteString.CopyFrom(bytes);
        }
    }

    private static void Sort<T>(Google.Protobuf.Collections.RepeatedField<T> field, Func<T, string> key)
    {
        T[] sorted = [.. field.OrderBy(key, StringComparer.Ordinal)];
        field.Clear();
        field.AddRange(sorted);
    }
}
