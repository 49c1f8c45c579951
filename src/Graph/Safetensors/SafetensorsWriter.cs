using System.Buffers;
using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Safetensors;

/// <summary>
/// Writes safetensors files the way the reference writer does: header padded with spaces to a multiple of 8 bytes,
/// tensors by type (wide first), then by name. Data streams from the tensors.
/// </summary>
public static class SafetensorsWriter
{
    private const int HeaderAlignment = 8;

    /// <summary>Writes a file, which appears whole or not at all.</summary>
    /// <param name="path">The file to create or replace; its folder must exist.</param>
    /// <param name="tensors">Tensors by name, in any order.</param>
    /// <param name="metadata">Metadata; <c>format</c>: <c>pt</c>, for which loaders look, is added unless it sets a format.</param>
    /// <exception cref="ModelFormatException">A name is used twice, or the format has no such element type.</exception>
    /// <exception cref="FileWriteException">The file cannot be written.</exception>
    public static void Write(string path, IEnumerable<KeyValuePair<string, ITensor>> tensors, IEnumerable<KeyValuePair<string, string>>? metadata = null)
    {
        KeyValuePair<string, ITensor>[] ordered = Order(tensors);
        AtomicFile.Write(path, stream => WriteOrdered(stream, ordered, metadata ?? []));
    }

    /// <summary>Writes the format to a stream.</summary>
    /// <inheritdoc cref="Write(string, IEnumerable{KeyValuePair{string, ITensor}}, IEnumerable{KeyValuePair{string, string}}?)"/>
    public static void Write(Stream stream, IEnumerable<KeyValuePair<string, ITensor>> tensors, IEnumerable<KeyValuePair<string, string>>? metadata = null) =>
        WriteOrdered(stream, Order(tensors), metadata ?? []);

    private static KeyValuePair<string, ITensor>[] Order(IEnumerable<KeyValuePair<string, ITensor>> tensors)
    {
        HashSet<string> names = new(StringComparer.Ordinal) { "__metadata__" };
        KeyValuePair<string, ITensor>[] ordered =
            [.. tensors.OrderByDescending(t => SafetensorsDataTypes.Order(t.Value.ElementType)).ThenBy(t => t.Key, StringComparer.Ordinal)];
        foreach ((string name, ITensor tensor) in ordered)
        {
            if (SafetensorsDataTypes.NameOf(tensor.ElementType) is null)
            {
                throw new ModelFormatException($"Tensor '{name}' is {tensor.ElementType.OnnxName()}, which safetensors cannot hold. It holds {SafetensorsDataTypes.Known}; convert the tensor first.");
            }

            if (!names.Add(name))
            {
                throw new ModelFormatException($"Two tensors for one safetensors file are named '{name}', or the name is the format's own. Rename one.");
            }
        }

        return ordered;
    }

    private static void WriteOrdered(Stream stream, KeyValuePair<string, ITensor>[] tensors, IEnumerable<KeyValuePair<string, string>> metadata)
    {
        ArrayBufferWriter<byte> header = new();
        WriteHeader(header, tensors, metadata);
        int padding = -header.WrittenCount & (HeaderAlignment - 1);
        header.GetSpan(padding)[..padding].Fill((byte)' ');
        header.Advance(padding);
        if (header.WrittenCount > SafetensorsFile.MaxHeaderLength)
        {
            throw new ModelFormatException($"The safetensors header takes {header.WrittenCount} bytes; headers end at {SafetensorsFile.MaxHeaderLength}. Write the tensors to several files.");
        }

        Span<byte> length = stackalloc byte[SafetensorsFile.LengthBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)header.WrittenCount);
        stream.Write(length);
        stream.Write(header.WrittenSpan);
        foreach ((_, ITensor tensor) in tensors)
        {
            TensorStream.Copy(tensor, stream);
        }
    }

    private static void WriteHeader(ArrayBufferWriter<byte> header, KeyValuePair<string, ITensor>[] tensors, IEnumerable<KeyValuePair<string, string>> metadata)
    {
        using Utf8JsonWriter json = new(header, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        json.WriteStartObject();
        json.WriteStartObject("__metadata__");
        KeyValuePair<string, string>[] pairs = [.. metadata];
        if (!pairs.Any(p => p.Key == "format"))
        {
            json.WriteString("format", "pt");
        }

        foreach ((string key, string value) in pairs)
        {
            json.WriteString(key, value);
        }

        json.WriteEndObject();
        long offset = 0;
        foreach ((string name, ITensor tensor) in tensors)
        {
            json.WriteStartObject(name);
            json.WriteString("dtype", SafetensorsDataTypes.NameOf(tensor.ElementType));
            json.WriteStartArray("shape");
            foreach (long dim in tensor.Dims)
            {
                json.WriteNumberValue(dim);
            }

            json.WriteEndArray();
            json.WriteStartArray("data_offsets");
            json.WriteNumberValue(offset);
            offset += tensor.ByteLength;
            json.WriteNumberValue(offset);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }
}
