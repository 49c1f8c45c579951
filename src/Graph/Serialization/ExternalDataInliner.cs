using Google.Protobuf;
using Google.Protobuf.Reflection;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>
/// Brings external data into messages that are carried along without being modelled, so that they stay whole when
/// the model is written to another folder.
/// </summary>
internal static class ExternalDataInliner
{
    /// <summary>Inlines every tensor in a message, however deep.</summary>
    /// <param name="message">The message.</param>
    /// <param name="context">The reading that this is part of.</param>
    /// <param name="owner">What the message describes, for messages to the user.</param>
    public static void Inline(IMessage message, ReadContext context, string owner)
    {
        if (message is TensorProto tensor)
        {
            TensorProtoReader.Internalise(tensor, context, $"tensor '{tensor.Name}' of {owner}");
            return;
        }

        foreach (FieldDescriptor field in message.Descriptor.Fields.InFieldNumberOrder())
        {
            if (field.FieldType == FieldType.Message)
            {
                object? value = field.Accessor.GetValue(message);
                foreach (IMessage child in field.IsRepeated ? ((System.Collections.IEnumerable)value).Cast<IMessage>() : value is IMessage single ? [single] : [])
                {
                    Inline(child, context, owner);
                }
            }
        }
    }
}
