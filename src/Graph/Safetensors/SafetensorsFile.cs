using System.Buffers.Binary;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Safetensors;

/// <summary>
/// A safetensors file, mapped into memory: 8 bytes with the header's length (little-endian), the header (JSON),
/// then the tensors without gaps. The file is untrusted; every range is checked on opening.
/// </summary>
public sealed class SafetensorsFile : IDisposable
{
    /// <summary>The longest header that is read, as in the reference reader.</summary>
    internal const long MaxHeaderLength = 100_000_000;

    internal const int LengthBytes = sizeof(ulong);

    private readonly MappedFile _file;
    private readonly OrderedDictionary<string, ITensor> _tensors = new(StringComparer.Ordinal);

    private SafetensorsFile(MappedFile file)
    {
        _file = file;
        string source = $"'{file.Path}'";
        long headerLength = HeaderLength(source);
        long dataStart = LengthBytes + headerLength;
        SafetensorsHeader header = SafetensorsHeader.Parse(file.AsSpan(LengthBytes, (int)headerLength), source);
        Metadata = header.Metadata;
        CheckRanges(header.Entries, file.Length - dataStart, source);
        foreach ((string name, SafetensorsHeader.Entry entry) in header.Entries)
        {
            _tensors.Add(name, new ExternalTensor(file, dataStart + entry.Begin, entry.Type, entry.Dims));
        }
    }

    /// <summary>Tensors by name, in header order. They can be read until the file is disposed.</summary>
    public IReadOnlyDictionary<string, ITensor> Tensors => _tensors;

    /// <summary>The header's metadata, for example <c>format</c>: <c>pt</c>; empty if there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>The tensor of a name.</summary>
    /// <exception cref="ModelFormatException">The file has none; the message lists some that it has.</exception>
    public ITensor this[string name]
    {
        get
        {
            const int listed = 5;
            return _tensors.TryGetValue(name, out ITensor? tensor)
                ? tensor
                : throw new ModelFormatException(
                    $"'{_file.Path}' has no tensor '{name}'. It has {_tensors.Count}: {string.Join(", ", _tensors.Keys.Take(listed))}{(_tensors.Count > listed ? ", ..." : "")}.");
        }
    }

    /// <summary>Opens a file and checks its header.</summary>
    /// <exception cref="ModelFormatException">The file is absent, truncated, malformed or hostile.</exception>
    public static SafetensorsFile Open(string path)
    {
        MappedFile file = MappedFile.Open(path);
        try
        {
            return new SafetensorsFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Unmaps the file.</summary>
    public void Dispose() => _file.Dispose();

    private static void CheckRanges(IReadOnlyDictionary<string, SafetensorsHeader.Entry> entries, long dataLength, string source)
    {
        long position = 0;
        string previous = "the header";
        foreach ((string name, SafetensorsHeader.Entry entry) in entries.OrderBy(e => e.Value.Begin).ThenBy(e => e.Value.End))
        {
            string where = $"{source}: tensor '{name}'";
            if (entry.Begin > entry.End || entry.End > dataLength)
            {
                throw new ModelFormatException($"{where} takes bytes {entry.Begin} to {entry.End} of the data, which has {dataLength} bytes. The file is truncated or damaged.");
            }

            if (entry.Begin != position)
            {
                throw new ModelFormatException(entry.Begin < position
                    ? $"{where} begins at byte {entry.Begin}, inside {previous}, which ends at {position}. Tensors may not overlap."
                    : $"{where} begins at byte {entry.Begin}, but {previous} ends at {position}. The data may have no holes.");
            }

            if (!TensorSize.TryCompute(entry.Type, entry.Dims, out _, out long expected) || expected != entry.End - entry.Begin)
            {
                throw new ModelFormatException($"{where}, {entry.Type.OnnxName()}[{string.Join(", ", entry.Dims)}], does not take the {entry.End - entry.Begin} bytes that its data_offsets give it.");
            }

            position = entry.End;
            previous = $"tensor '{name}'";
        }

        if (position != dataLength)
        {
            throw new ModelFormatException($"{source}: {previous} ends at byte {position} of the data, which has {dataLength} bytes. No tensor holds the rest; the header is damaged.");
        }
    }

    private long HeaderLength(string source)
    {
        if (_file.Length < LengthBytes)
        {
            throw new ModelFormatException($"{source} has {_file.Length} bytes and is no safetensors file, or it is truncated. Write or download it again.");
        }

        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(_file.AsSpan(0, LengthBytes));
        if (length > MaxHeaderLength || (long)length > _file.Length - LengthBytes)
        {
            throw new ModelFormatException($"{source} states a header of {length} bytes; the file has {_file.Length} bytes and headers end at {MaxHeaderLength}. It is no safetensors file, or it is truncated.");
        }

        return length > 0 && _file.AsSpan(LengthBytes, 1)[0] == '{'
            ? (long)length
            : throw new ModelFormatException($"{source}: the header does not begin with '{{'. It is no safetensors file.");
    }
}
