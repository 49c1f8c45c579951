using System.Runtime.InteropServices;
using Google.Protobuf;
using Google.Protobuf.Collections;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Turns tensor messages into tensors. Sizes are checked before anything is allocated for them.</summary>
internal static class TensorProtoReader
{
    private const int External = 1;

    /// <summary>Reads a tensor. Raw data is shared with the message or the file, not copied.</summary>
    /// <param name="proto">The message.</param>
    /// <param name="context">The reading that this is part of.</param>
    /// <param name="where">The tensor, for messages.</param>
    /// <param name="place">Where in the model file the message's raw data lies; null if the message holds it.</param>
    public static ITensor Read(TensorProto proto, ReadContext context, string where, (int Offset, int Length)? place = null)
    {
        DataType type = (DataType)proto.DataType;
        if (type != DataType.String && type.BitWidth() == 0)
        {
            throw context.Error($"{where} has {type.OnnxName()} elements, which this version does not know. Types 1 to {(int)Enum.GetValues<DataType>().Max()} are known.");
        }

        if (proto.Segment is not null)
        {
            throw context.Error($"{where} is one segment of a tensor cut in parts, a form that no exporter in use writes. Export the model again.");
        }

        (long count, long byteLength) = Size(type, proto.Dims, context, where);
        if (type == DataType.String)
        {
            return ReadStrings(proto, count, place is not null, context, where);
        }

        if (proto.DataLocation == External)
        {
            return context.ExternalData.Read(proto.ExternalData, type, proto.Dims, byteLength, where);
        }

        if (place is { } raw)
        {
            RequireNoTypedData(proto, context, where);
            RequireSize(raw.Length, type, proto.Dims, byteLength, context, where);
            return new ExternalTensor(context.Inline!.File, raw.Offset, type, proto.Dims) { IsInModelFile = true };
        }

        ReadOnlyMemory<byte> data = proto.RawData.IsEmpty ? TypedData(proto, type, count, byteLength, context, where) : RawData(proto, context, where);
        RequireSize(data.Length, type, proto.Dims, byteLength, context, where);
        return new DenseTensor(type, proto.Dims, data);
    }

    /// <summary>Clears what <see cref="Read"/> has read, so that what is left can be kept for the round trip.</summary>
    public static void ClearModelled(TensorProto proto)
    {
        proto.Dims.Clear();
        proto.ClearDataType();
        proto.ClearRawData();
        proto.FloatData.Clear();
        proto.Int32Data.Clear();
        proto.StringData.Clear();
        proto.Int64Data.Clear();
        proto.DoubleData.Clear();
        proto.Uint64Data.Clear();
        proto.ExternalData.Clear();
        proto.ClearDataLocation();
    }

    /// <summary>Moves external data into the message, for messages that are carried along without being modelled.</summary>
    public static void Internalise(TensorProto proto, ReadContext context, string where)
    {
        if (proto.DataLocation == External)
        {
            proto.RawData = UnsafeByteOperations.UnsafeWrap(Read(proto, context, where).ToBytes());
            proto.ExternalData.Clear();
            proto.ClearDataLocation();
        }
    }

    /// <summary>Numbers of elements and bytes that dimensions ask for.</summary>
    /// <exception cref="ModelFormatException">They are negative or too large.</exception>
    public static (long Elements, long Bytes) Size(DataType type, RepeatedField<long> dims, ReadContext context, string where) =>
        TensorSize.TryCompute(type, dims, out long elements, out long bytes)
            ? (elements, bytes)
            : throw context.Error($"{where}, {Describe(type, dims)}, has a dimension below 0 or more than 2^63 bytes. The file is damaged.");

    private static StringTensor ReadStrings(TensorProto proto, long count, bool hasRawData, ReadContext context, string where)
    {
        if (proto.DataLocation == External || proto.HasRawData || hasRawData)
        {
            throw context.Error($"{where} holds strings as raw data; ONNX keeps strings in string_data.");
        }

        return proto.StringData.Count == count
            ? new StringTensor(proto.Dims, [.. proto.StringData.Select(s => s.Memory)])
            : throw context.Error($"{where}, {Describe(DataType.String, proto.Dims)}, has {count} elements, but the file holds {proto.StringData.Count} strings for it.");
    }

    private static ReadOnlyMemory<byte> RawData(TensorProto proto, ReadContext context, string where)
    {
        RequireNoTypedData(proto, context, where);
        return proto.RawData.Memory;
    }

    private static void RequireNoTypedData(TensorProto proto, ReadContext context, string where)
    {
        if (proto.FloatData.Count + (long)proto.Int32Data.Count + proto.Int64Data.Count + proto.DoubleData.Count + proto.Uint64Data.Count > 0)
        {
            throw context.Error($"{where} holds its elements twice, as raw data and as typed data.");
        }
    }

    private static void RequireSize(int length, DataType type, RepeatedField<long> dims, long byteLength, ReadContext context, string where)
    {
        if (length != byteLength)
        {
            throw context.Error($"{where}, {Describe(type, dims)}, takes {byteLength} bytes, but the file holds {length} for it. The file is truncated or damaged.");
        }
    }

    private static byte[] TypedData(TensorProto proto, DataType type, long count, long byteLength, ReadContext context, string where)
    {
        // Types of 4 and 2 bits are packed: one entry of int32_data is one byte.
        (int entries, long expected, string field) = type switch
        {
            DataType.Float => (proto.FloatData.Count, count, "float_data"),
            DataType.Complex64 => (proto.FloatData.Count, 2 * (Int128)count > int.MaxValue ? -1 : 2 * count, "float_data"),
            DataType.Double => (proto.DoubleData.Count, count, "double_data"),
            DataType.Complex128 => (proto.DoubleData.Count, 2 * (Int128)count > int.MaxValue ? -1 : 2 * count, "double_data"),
            DataType.Int64 => (proto.Int64Data.Count, count, "int64_data"),
            DataType.UInt32 or DataType.UInt64 => (proto.Uint64Data.Count, count, "uint64_data"),
            _ => (proto.Int32Data.Count, type.BitWidth() < 8 ? byteLength : count, "int32_data"),
        };
        if (entries != expected || byteLength > Array.MaxLength)
        {
            throw context.Error($"{where}, {Describe(type, proto.Dims)}, has {count} elements, but the file holds {entries} values of {field} and no raw data for it. The file is truncated or damaged.");
        }

        byte[] bytes = new byte[byteLength];
        switch (type)
        {
            case DataType.Float or DataType.Complex64:
                proto.FloatData.CopyToSpan(MemoryMarshal.Cast<byte, float>(bytes.AsSpan()));
                break;
            case DataType.Double or DataType.Complex128:
                proto.DoubleData.CopyToSpan(MemoryMarshal.Cast<byte, double>(bytes.AsSpan()));
                break;
            case DataType.Int64:
                proto.Int64Data.CopyToSpan(MemoryMarshal.Cast<byte, long>(bytes.AsSpan()));
                break;
            case DataType.UInt64:
                proto.Uint64Data.CopyToSpan(MemoryMarshal.Cast<byte, ulong>(bytes.AsSpan()));
                break;
            case DataType.UInt32:
                Narrow(proto.Uint64Data, MemoryMarshal.Cast<byte, uint>(bytes.AsSpan()), v => v <= uint.MaxValue, v => (uint)v, type, context, where);
                break;
            case DataType.Int32:
                proto.Int32Data.CopyToSpan(MemoryMarshal.Cast<byte, int>(bytes.AsSpan()));
                break;
            default:
                // Some writers extend the sign of a bit pattern and some do not; both mean the same low bits.
                if (type.BitWidth() == 16)
                {
                    Narrow(proto.Int32Data, MemoryMarshal.Cast<byte, ushort>(bytes.AsSpan()), v => v is >= short.MinValue and <= ushort.MaxValue, v => (ushort)v, type, context, where);
                }
                else
                {
                    Narrow(proto.Int32Data, bytes.AsSpan(), v => v is >= sbyte.MinValue and <= byte.MaxValue, v => (byte)v, type, context, where);
                }

                break;
        }

        return bytes;
    }

    private static void CopyToSpan<T>(this RepeatedField<T> field, Span<T> destination)
    {
        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] = field[i];
        }
    }

    private static void Narrow<TWide, TNarrow>(
        RepeatedField<TWide> field, Span<TNarrow> destination, Predicate<TWide> fits, Converter<TWide, TNarrow> convert, DataType type, ReadContext context, string where)
    {
        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] = fits(field[i])
                ? convert(field[i])
                : throw context.Error($"{where}: element {i} is {field[i]}, which does not fit {type.OnnxName()}.");
        }
    }

    private static string Describe(DataType type, RepeatedField<long> dims) => $"{type.OnnxName()}[{string.Join(", ", dims)}]";
}
