using System.Globalization;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>
/// Gives tensors their places in data files, then writes the files. A tensor shared by several names has one place. A new
/// file begins where the next tensor would make the present one too large.
/// </summary>
internal sealed class ExternalDataLayout(string location, ExternalDataOptions options)
{
    private readonly Dictionary<ITensor, (int File, long Offset)> _known = new(ReferenceEqualityComparer.Instance);
    private readonly List<List<(ITensor Tensor, long Offset)>> _files = [[]];
    private long _length;

    /// <summary>Names of the data files as the model states them; none if no tensor lies outside the model.</summary>
    public IReadOnlyList<string> Locations => _files[0].Count == 0 ? [] : [.. _files.Select((_, i) => LocationOf(i))];

    /// <summary>Whether a tensor belongs into a data file.</summary>
    public bool Takes(ITensor tensor, bool ofAttribute) =>
        tensor.ElementType != DataType.String && tensor.ByteLength > 0 && tensor.ByteLength >= options.Threshold
        && (!ofAttribute || options.IncludeAttributes);

    /// <summary>The data file of a tensor and its first byte there.</summary>
    public (string Location, long Offset) Place(ITensor tensor)
    {
        if (!_known.TryGetValue(tensor, out (int File, long Offset) place))
        {
            long offset = checked((_length + options.Alignment - 1) / options.Alignment * options.Alignment);
            if (offset > 0 && offset + tensor.ByteLength > options.LargestFile)
            {
                _files.Add([]);
                offset = 0;
            }

            _length = checked(offset + tensor.ByteLength);
            place = (_files.Count - 1, offset);
            _known[tensor] = place;
            _files[^1].Add((tensor, offset));
        }

        return (LocationOf(place.File), place.Offset);
    }

    /// <summary>Writes a file.</summary>
    /// <param name="file">Position in <see cref="Locations"/>.</param>
    /// <param name="stream">Takes the content.</param>
    public void Write(int file, Stream stream)
    {
        byte[] gap = new byte[options.Alignment];
        long position = 0;
        foreach ((ITensor tensor, long offset) in _files[file])
        {
            stream.Write(gap.AsSpan(0, (int)(offset - position)));
            TensorStream.Copy(tensor, stream);
            position = offset + tensor.ByteLength;
        }
    }

    private string LocationOf(int file) => file == 0 ? location : string.Create(CultureInfo.InvariantCulture, $"{location}.{file}");
}
