using System.Globalization;
using Google.Protobuf.Collections;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>
/// Maps the data files that a model's tensors lie in. A location comes from an untrusted file: it must stay in the
/// model's folder after symbolic links are followed, and ranges must lie in the file and not overlap.
/// </summary>
internal sealed class ExternalDataReader
{
    private readonly string _source;
    private readonly string? _folder;
    private readonly string[] _allowedFolders;
    private readonly Dictionary<string, MappedFile> _filesByLocation = new(StringComparer.Ordinal);
    private readonly Dictionary<string, MappedFile> _filesByPath = new(StringComparer.Ordinal);
    private readonly Dictionary<MappedFile, List<(long Begin, long End, string Where)>> _ranges = [];

    /// <param name="source">Name of the model for messages.</param>
    /// <param name="folder">Folder that locations are relative to; null if external data cannot be found.</param>
    /// <param name="modelPath">The model file, if there is one.</param>
    public ExternalDataReader(string source, string? folder, string? modelPath)
    {
        _source = source;
        _folder = folder;

        // Download caches keep a model as links into one store. Where the model file itself is a link, the
        // folder it really lies in is as trustworthy as the folder of the link.
        _allowedFolders = folder is null ? []
            : modelPath is null ? [RealPath.Resolve(folder)]
            : [RealPath.Resolve(folder), Path.GetDirectoryName(RealPath.Resolve(modelPath))!];
    }

    /// <summary>Files opened so far; the caller owns them.</summary>
    public IEnumerable<MappedFile> Files => _filesByPath.Values;

    /// <summary>The tensor that lies at a place given by a message's external data entries.</summary>
    /// <param name="entries">Keys location, offset, length.</param>
    /// <param name="elementType">Element type.</param>
    /// <param name="dims">Dimensions, already checked.</param>
    /// <param name="byteLength">Bytes that type and dimensions ask for.</param>
    /// <param name="where">The tensor, for messages.</param>
    public ITensor Read(RepeatedField<StringStringEntryProto> entries, DataType elementType, IReadOnlyList<long> dims, long byteLength, string where)
    {
        string location = entries.FirstOrDefault(e => e.Key == "location")?.Value
            ?? throw Error($"{where} lies in another file, but its external data names no location.");
        long offset = Number(entries, "offset", where) ?? 0;
        long length = Number(entries, "length", where) ?? byteLength;
        if (length != byteLength)
        {
            throw Error($"{where} takes {byteLength} bytes, but its external data in '{location}' has length {length}.");
        }

        if (byteLength == 0)
        {
            return new DenseTensor(elementType, dims, ReadOnlyMemory<byte>.Empty);
        }

        MappedFile file = Open(location, where);
        if (offset > file.Length - length)
        {
            throw Error($"{where} takes bytes {offset} to {(UInt128)(ulong)offset + (ulong)length - 1} of '{location}', which has only {file.Length} bytes. The data file is truncated or belongs to another model.");
        }

        _ranges[file].Add((offset, offset + length, where));
        return new ExternalTensor(file, offset, elementType, dims);
    }

    /// <summary>Checks that no two tensors share part of their bytes. Tensors that share all of them are tied weights.</summary>
    public void CheckOverlaps()
    {
        foreach ((MappedFile file, List<(long Begin, long End, string Where)> ranges) in _ranges)
        {
            ranges.Sort((a, b) => a.Begin != b.Begin ? a.Begin.CompareTo(b.Begin) : a.End.CompareTo(b.End));
            for (int i = 1; i < ranges.Count; i++)
            {
                (long begin, long end, string where) = ranges[i];
                (long earlierBegin, long earlierEnd, string earlier) = ranges[i - 1];
                if (begin < earlierEnd && (begin, end) != (earlierBegin, earlierEnd))
                {
                    throw Error($"{where} (bytes {begin} to {end - 1}) and {earlier} (bytes {earlierBegin} to {earlierEnd - 1}) overlap in '{file.Path}'. Export the model again.");
                }
            }
        }
    }

    private long? Number(RepeatedField<StringStringEntryProto> entries, string key, string where)
    {
        string? text = entries.FirstOrDefault(e => e.Key == key)?.Value;
        return string.IsNullOrEmpty(text) ? null
            : long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number
            : throw Error($"{where} has external data with {key} '{text}'; a number from 0 to {long.MaxValue} is expected.");
    }

    private MappedFile Open(string location, string where)
    {
        if (_filesByLocation.TryGetValue(location, out MappedFile? known))
        {
            return known;
        }

        string path = Locate(location, where);
        if (!_filesByPath.TryGetValue(path, out MappedFile? file))
        {
            try
            {
                file = MappedFile.Open(path);
            }
            catch (ModelFormatException e)
            {
                throw Error($"{where} lies in the data file '{location}'. {e.Message} Keep the data files beside the model.", e);
            }

            _filesByPath[path] = file;
            _ranges[file] = [];
        }

        _filesByLocation[location] = file;
        return file;
    }

    private string Locate(string location, string where)
    {
        if (_folder is null)
        {
            throw Error($"{where} lies in the data file '{location}', but a model read from memory has no folder. Name the folder of its data files, or read the model from its file.");
        }

        // Both separators, and on every system: a file must not mean something else elsewhere.
        if (location.Length == 0 || location.Contains('\0') || Path.IsPathRooted(location) || location.StartsWith('\\')
            || location.Split('/', '\\').Contains(".."))
        {
            throw Leaves(location, where);
        }

        try
        {
            string path = RealPath.Resolve(Path.Combine(_folder, location));
            return _allowedFolders.Any(f => RealPath.IsInside(path, f)) ? path : throw Leaves(location, where);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw Error($"{where} lies in the data file '{location}', which cannot be found: {e.Message}", e);
        }
    }

    private ModelFormatException Leaves(string location, string where) => Error(
        $"{where} lies in '{location}', which is outside the model's folder '{_folder}'. Only files in that folder are read; put the data file beside the model and export it again.");

    private ModelFormatException Error(string message, Exception? inner = null) => new($"{_source}: {message}", inner);
}
