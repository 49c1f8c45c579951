using System.Collections;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace OrtQLoRA.Graph.Tests.Serialization;

/// <summary>
/// Damages messages field by field. What comes out is valid protobuf always, so that it reaches the checks that
/// damaged bytes seldom get to: names, numbers and structure that contradict each other.
/// </summary>
internal static class ProtoMutator
{
    private static readonly long[] EdgeNumbers = [0, 1, -1, 2, 7, 16, 99, int.MaxValue, int.MinValue, 1L << 32, 1L << 40, 1L << 62, long.MaxValue, long.MinValue];
    private static readonly string[] EdgeStrings = ["", "x", "..", "/etc/passwd", "ai.onnx", "-1", "9223372036854775807", "18446744073709551616", "\0"];

    /// <summary>Changes one to four fields somewhere in a message.</summary>
    public static void Mutate(IMessage root, Random random)
    {
        List<IMessage> messages = [];
        Collect(root, messages);
        int faults = random.Next(1, 5);
        for (int i = 0; i < faults; i++)
        {
            IMessage message = messages[random.Next(messages.Count)];
            IList<FieldDescriptor> fields = message.Descriptor.Fields.InFieldNumberOrder();
            MutateField(message, fields[random.Next(fields.Count)], messages, random);
        }
    }

    private static void Collect(IMessage message, List<IMessage> messages)
    {
        messages.Add(message);
        foreach (FieldDescriptor field in message.Descriptor.Fields.InFieldNumberOrder().Where(f => f.FieldType == FieldType.Message))
        {
            object? value = field.Accessor.GetValue(message);
            foreach (IMessage child in field.IsRepeated ? ((IEnumerable)value).Cast<IMessage>() : value is IMessage one ? [one] : [])
            {
                Collect(child, messages);
            }
        }
    }

    private static void MutateField(IMessage message, FieldDescriptor field, List<IMessage> messages, Random random)
    {
        if (!field.IsRepeated)
        {
            if (random.Next(4) == 0)
            {
                field.Accessor.Clear(message);
            }
            else if (NewValue(field, messages, random) is { } value)
            {
                field.Accessor.SetValue(message, value);
            }

            return;
        }

        IList list = (IList)field.Accessor.GetValue(message);
        int at = random.Next(list.Count + 1);
        switch (random.Next(4))
        {
            case 0 when at < list.Count:
                list.RemoveAt(at);
                break;
            case 1 when at < list.Count:
                // The same message twice, or a value moved: order and uniqueness.
                object item = list[at]!;
                list.Insert(random.Next(list.Count), item is IMessage m ? Copy(m) : item);
                break;
            default:
                if (NewValue(field, messages, random) is { } value)
                {
                    list.Insert(at, value);
                }

                break;
        }
    }

    private static object? NewValue(FieldDescriptor field, List<IMessage> messages, Random random)
    {
        long number = EdgeNumbers[random.Next(EdgeNumbers.Length)];
        switch (field.FieldType)
        {
            case FieldType.Int64:
                return number;
            case FieldType.UInt64:
                return (ulong)number;
            case FieldType.Int32:
                return (int)number;
            case FieldType.Float:
                return (float)number;
            case FieldType.Double:
                return (double)number;
            case FieldType.Bytes:
                return ByteString.CopyFrom(new byte[random.Next(20)]);
            case FieldType.String:
                return random.Next(3) == 0 ? EdgeStrings[random.Next(EdgeStrings.Length)] : SomeName(messages[random.Next(messages.Count)]);
            default:
                // A message of that kind from elsewhere in the model, unless that would nest ever deeper.
                IMessage[] alike = [.. messages.Where(m => m.Descriptor == field.MessageType && m.CalculateSize() < 2000)];
                return alike.Length == 0 ? null : Copy(alike[random.Next(alike.Length)]);
        }
    }

    private static string SomeName(IMessage message) =>
        message.Descriptor.Fields.InFieldNumberOrder().FirstOrDefault(f => f.FieldType == FieldType.String) is { } field
            ? field.Accessor.GetValue(message) switch
            {
                string text => text,
                IList { Count: > 0 } list => (string)list[0]!,
                _ => "",
            }
            : "";

    private static IMessage Copy(IMessage message) => message.Descriptor.Parser.ParseFrom(message.ToByteArray());
}
