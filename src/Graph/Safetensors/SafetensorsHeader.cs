using System.Text;
using System.Text.Json;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Safetensors;

/// <summary>
/// Parses the JSON header of a safetensors file: tensor names with type, shape and byte range, and the metadata.
/// JSON libraries let a repeated key win or lose in silence; here it is an error, as is everything that two
/// readers could understand in two ways.
/// </summary>
internal sealed class SafetensorsHeader
{
    private const string MetadataKey = "__metadata__";
    private const int MaxDepth = 4;

    private readonly string _source;
    private readonly OrderedDictionary<string, Entry> _entries = new(StringComparer.Ordinal);
    private readonly OrderedDictionary<string, string> _metadata = new(StringComparer.Ordinal);

    private SafetensorsHeader(string source)
    {
        _source = source;
    }

    /// <summary>Tensors in header order.</summary>
    public IReadOnlyDictionary<string, Entry> Entries => _entries;

    /// <summary>The metadata.</summary>
    public IReadOnlyDictionary<string, string> Metadata => _metadata;

    /// <summary>Parses a header.</summary>
    /// <param name="json">The header's bytes, padding included.</param>
    /// <param name="source">The file, for messages.</param>
    /// <exception cref="ModelFormatException">The header is malformed.</exception>
    public static SafetensorsHeader Parse(ReadOnlySpan<byte> json, string source)
    {
        SafetensorsHeader header = new(source);
        try
        {
            Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = MaxDepth });
            header.ReadObject(ref reader);
            while (reader.Read())
            {
            }

            return header;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or DecoderFallbackException)
        {
            throw header.Error($"the header is no JSON of the expected form: {e.Message} Write or download the file again.", e);
        }
    }

    private void ReadObject(ref Utf8JsonReader reader)
    {
        Expect(ref reader, JsonTokenType.StartObject, "the header");
        while (NextProperty(ref reader, "the header") is { } name)
        {
            if (name == MetadataKey)
            {
                ReadMetadata(ref reader);
            }
            else if (!_entries.TryAdd(name, ReadEntry(ref reader, name)))
            {
                throw Error($"the header names tensor '{name}' twice. Only one can be meant.");
            }
        }
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        Expect(ref reader, JsonTokenType.StartObject, MetadataKey);
        while (NextProperty(ref reader, MetadataKey) is { } key)
        {
            Expect(ref reader, JsonTokenType.String, $"'{key}' of {MetadataKey}");
            if (!_metadata.TryAdd(key, reader.GetString()!))
            {
                throw Error($"{MetadataKey} has the key '{key}' twice.");
            }
        }
    }

    private Entry ReadEntry(ref Utf8JsonReader reader, string tensor)
    {
        string? typeName = null;
        List<long>? dims = null;
        List<long>? offsets = null;
        Expect(ref reader, JsonTokenType.StartObject, $"tensor '{tensor}'");
        while (NextProperty(ref reader, $"tensor '{tensor}'") is { } field)
        {
            switch (field)
            {
                case "dtype" when typeName is null:
                    Expect(ref reader, JsonTokenType.String, $"dtype of tensor '{tensor}'");
                    typeName = reader.GetString();
                    break;
                case "shape" when dims is null:
                    dims = ReadNumbers(ref reader, $"shape of tensor '{tensor}'");
                    break;
                case "data_offsets" when offsets is null:
                    offsets = ReadNumbers(ref reader, $"data_offsets of tensor '{tensor}'");
                    break;
                default:
                    throw Error($"tensor '{tensor}' has {(field is "dtype" or "shape" or "data_offsets" ? "two fields" : "an unknown field")} '{field}'; dtype, shape and data_offsets are expected, once each.");
            }
        }

        DataType type = SafetensorsDataTypes.Parse(typeName);
        return type == DataType.Undefined
            ? throw Error($"tensor '{tensor}' has dtype '{typeName}'; known are {SafetensorsDataTypes.Known}.")
            : dims is null ? throw Error($"tensor '{tensor}' has no shape.")
            : offsets is not [long begin, long end] ? throw Error($"tensor '{tensor}' needs two data_offsets, begin and end.")
            : new Entry(type, dims, begin, end);
    }

    private List<long> ReadNumbers(ref Utf8JsonReader reader, string where)
    {
        Expect(ref reader, JsonTokenType.StartArray, where);
        List<long> numbers = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long number) || number < 0)
            {
                throw Error($"the {where} must hold whole numbers from 0 to {long.MaxValue}; found {Encoding.UTF8.GetString(reader.ValueSpan)}.");
            }

            numbers.Add(number);
        }

        return numbers;
    }

    // The next property's name with the reader before its value, or null at the end of the object.
    private static string? NextProperty(ref Utf8JsonReader reader, string where) =>
        !reader.Read() ? throw new JsonException($"{where} ends early.")
        : reader.TokenType == JsonTokenType.PropertyName ? reader.GetString()
        : null;

    private void Expect(ref Utf8JsonReader reader, JsonTokenType token, string where)
    {
        if (!reader.Read() || reader.TokenType != token)
        {
            throw Error($"{where} should be {token switch { JsonTokenType.StartObject => "an object", JsonTokenType.StartArray => "an array", _ => "a string" }}, not {reader.TokenType}.");
        }
    }

    private ModelFormatException Error(string message, Exception? inner = null) => new($"{_source}: {message}", inner);

    /// <summary>One tensor: type, shape, and its bytes [Begin, End) counted from the end of the header.</summary>
    internal sealed record Entry(DataType Type, IReadOnlyList<long> Dims, long Begin, long End);
}
