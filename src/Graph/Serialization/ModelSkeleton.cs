namespace OrtQLoRA.Graph.Serialization;

/// <summary>
/// A serialized model without the raw data of its large initializers, and where in the file each of those lies. Parsing the
/// skeleton takes the memory of the graph; the weights stay in the file until they are read.
/// </summary>
/// <remarks>Only the main graph's initializers are taken out; constants of nodes and what lies in subgraphs stay.</remarks>
internal sealed class ModelSkeleton
{
    /// <summary>Raw data below this size is read with the message.</summary>
    internal const int SmallestRawData = 1 << 16;

    // Field numbers of ONNX's messages, and the wire types of protobuf.
    private const int ModelGraph = 7;
    private const int GraphInitializer = 5;
    private const int TensorRawData = 9;
    private const int Varint = 0;
    private const int Fixed64 = 1;
    private const int Bytes = 2;
    private const int Fixed32 = 5;

    private readonly Dictionary<int, (int Offset, int Length)> _rawData = [];
    private readonly int _smallest;
    private int _initializers;

    private ModelSkeleton(int smallest)
    {
        _smallest = smallest;
    }

    /// <summary>The message without the raw data that was taken out.</summary>
    internal ReadOnlyMemory<byte> Message { get; private set; }

    /// <summary>Of initializers of the main graph, by their index in it: place of the raw data in the file.</summary>
    internal IReadOnlyDictionary<int, (int Offset, int Length)> RawData => _rawData;

    /// <summary>Takes a model apart.</summary>
    /// <param name="model">The whole file.</param>
    /// <param name="smallest">Bytes from which raw data counts as large.</param>
    /// <returns>Null where there is nothing large to take out, or the bytes are no messages, which the parser explains better.</returns>
    internal static ModelSkeleton? Of(ReadOnlySpan<byte> model, int smallest = SmallestRawData)
    {
        ModelSkeleton skeleton = new(smallest);
        using MemoryStream message = new();
        if (!skeleton.CopyModel(model, message) || skeleton._rawData.Count == 0)
        {
            return null;
        }

        skeleton.Message = message.ToArray();
        return skeleton;
    }

    private bool CopyModel(ReadOnlySpan<byte> model, MemoryStream message)
    {
        using MemoryStream graph = new();
        for (int at = 0; at < model.Length;)
        {
            if (Next(model, at) is not { } field)
            {
                return false;
            }

            if (field is { Number: ModelGraph, WireType: Bytes })
            {
                graph.SetLength(0);
                if (!CopyGraph(model, field.Content, field.End, graph))
                {
                    return false;
                }

                WriteField(message, ModelGraph, graph);
            }
            else
            {
                message.Write(model[at..field.End]);
            }

            at = field.End;
        }

        return true;
    }

    private bool CopyGraph(ReadOnlySpan<byte> model, int start, int end, MemoryStream graph)
    {
        using MemoryStream tensor = new();
        for (int at = start; at < end;)
        {
            if (Next(model[..end], at) is not { } field)
            {
                return false;
            }

            bool isInitializer = field is { Number: GraphInitializer, WireType: Bytes };
            if (isInitializer && FindRawData(model, field.Content, field.End) is { } raw)
            {
                tensor.SetLength(0);
                tensor.Write(model[field.Content..raw.Start]);
                tensor.Write(model[raw.End..field.End]);
                WriteField(graph, GraphInitializer, tensor);
                _rawData[_initializers] = (raw.Content, raw.End - raw.Content);
            }
            else
            {
                graph.Write(model[at..field.End]);
            }

            _initializers += isInitializer ? 1 : 0;
            at = field.End;
        }

        return true;
    }

    /// <summary>The raw data of a tensor, if it is large and there once.</summary>
    private (int Start, int Content, int End)? FindRawData(ReadOnlySpan<byte> model, int start, int end)
    {
        (int Start, int Content, int End)? found = null;
        for (int at = start; at < end;)
        {
            if (Next(model[..end], at) is not { } field)
            {
                return null;
            }

            if (field is { Number: TensorRawData, WireType: Bytes })
            {
                // Of a field that is there twice the last counts; the parser knows such rules.
                if (found is not null)
                {
                    return null;
                }

                found = (at, field.Content, field.End);
            }

            at = field.End;
        }

        return found is { } raw && raw.End - raw.Content >= _smallest ? raw : null;
    }

    /// <summary>The field at a place: its content follows tag and length. Null if it does not fit or is of no known wire type.</summary>
    private static (int Number, int WireType, int Content, int End)? Next(ReadOnlySpan<byte> model, int at)
    {
        if (ReadVarint(model, ref at) is not { } tag || tag > uint.MaxValue || tag >> 3 == 0)
        {
            return null;
        }

        int wireType = (int)(tag & 7);
        ulong length = 0;
        int content = at;
        switch (wireType)
        {
            case Varint:
                if (ReadVarint(model, ref at) is null)
                {
                    return null;
                }

                length = (ulong)(at - content);
                break;
            case Fixed64:
                length = sizeof(ulong);
                break;
            case Fixed32:
                length = sizeof(uint);
                break;
            case Bytes when ReadVarint(model, ref at) is { } size:
                length = size;
                content = at;
                break;
            default:
                return null;
        }

        return length <= (ulong)(model.Length - content) ? ((int)(tag >> 3), wireType, content, content + (int)length) : null;
    }

    private static ulong? ReadVarint(ReadOnlySpan<byte> bytes, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; shift < 64 && at < bytes.Length; shift += 7)
        {
            byte next = bytes[at++];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
            {
                return value;
            }
        }

        return null;
    }

    private static void WriteField(MemoryStream stream, int number, MemoryStream content)
    {
        stream.WriteByte((byte)((number << 3) | Bytes));
        for (ulong left = (ulong)content.Length; ; left >>= 7)
        {
            stream.WriteByte((byte)(left < 0x80 ? left : (left & 0x7F) | 0x80));
            if (left < 0x80)
            {
                break;
            }
        }

        stream.Write(content.GetBuffer(), 0, (int)content.Length);
    }
}
