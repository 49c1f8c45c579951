using Google.Protobuf;
using Google.Protobuf.Collections;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Carries what messages of every kind have: key/value pairs, and fields that the IR does not model.</summary>
internal static class FileDetails
{
    /// <summary>What is left of a message once the modelled fields are cleared.</summary>
    public static ReadOnlyMemory<byte> Remainder(IMessage proto) =>
        proto.CalculateSize() == 0 ? ReadOnlyMemory<byte>.Empty : proto.ToByteArray();

    /// <summary>A message that holds the fields kept by <see cref="Remainder"/>.</summary>
    public static T Restore<T>(MessageParser<T> parser, ReadOnlyMemory<byte> remainder)
        where T : class, IMessage<T>, new() => remainder.IsEmpty ? new T() : parser.ParseFrom(remainder.Span);

    /// <summary>Moves key/value pairs out of a message.</summary>
    public static void Take(RepeatedField<StringStringEntryProto> entries, IDictionary<string, string> metadata)
    {
        foreach (StringStringEntryProto entry in entries)
        {
            metadata[entry.Key] = entry.Value;
        }

        entries.Clear();
    }

    /// <summary>Puts key/value pairs into a message.</summary>
    public static void Put(IDictionary<string, string> metadata, RepeatedField<StringStringEntryProto> entries)
    {
        foreach ((string key, string value) in metadata)
        {
            entries.Add(new StringStringEntryProto { Key = key, Value = value });
        }
    }

    /// <summary>Clears entries that are all empty, so that a remainder keeps a list only where it says something.</summary>
    public static void ClearIfEmpty<T>(RepeatedField<T> messages)
        where T : IMessage
    {
        if (messages.All(m => m.CalculateSize() == 0))
        {
            messages.Clear();
        }
    }
}
