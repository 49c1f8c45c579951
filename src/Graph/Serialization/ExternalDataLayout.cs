using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Gives tensors their places in a data file, then writes the file. A tensor shared by several names has one place.</summary>
internal sealed class ExternalDataLayout(string location, ExternalDataOptions options)
{
    private readonly Dictionary<ITensor, long> _offsets = new(ReferenceEqualityComparer.Instance);
    private readonly List<(ITensor Tensor, long Offset)> _places = [];
    private long _length;

    /// <summary>The data file's name as the model states it.</summary>
    public string Location { get; } = location;

    /// <summary>Whether any tensor lies in the file.</summary>
    public bool IsUsed => _places.Count > 0;

    /// <summary>Whether a tensor belongs into the data file.</summary>
    public bool Takes(ITensor tensor, bool ofAttribute) =>
        tensor.ElementType != DataType.String && tensor.ByteLength > 0 && tensor.ByteLength >= options.Threshold
        && (!ofAttribute || options.IncludeAttributes);

    /// <summary>The first byte of a tensor in the file.</summary>
    public long Place(ITensor tensor)
    {
        if (!_offsets.TryGetValue(tensor, out long offset))
        {
            offset = checked((_length + options.Alignment - 1) / options.Alignment * options.Alignment);
            _length = checked(offset + tensor.ByteLength);
            _offsets[tensor] = offset;
            _places.Add((tensor, offset));
        }

        return offset;
    }

    /// <summary>Writes the file.</summary>
    public void Write(Stream stream)
    {
        byte[] gap = new byte[options.Alignment];
        long position = 0;
        foreach ((ITensor tensor, long offset) in _places)
        {
            stream.Write(gap.AsSpan(0, (int)(offset - position)));
            TensorStream.Copy(tensor, stream);
            position = offset + tensor.ByteLength;
        }
    }
}
