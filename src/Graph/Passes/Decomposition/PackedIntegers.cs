using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.Decomposition;

/// <summary>
/// Integers of 2, 4 or 8 bits as ONNX Runtime's block-quantized operators store them: low bits first, every row padded to
/// whole blocks or bytes.
/// </summary>
internal sealed class PackedIntegers
{
    private readonly ITensor _content;
    private readonly long[] _dims;
    private readonly int _axis;
    private readonly long _paddedSize;
    private readonly int _bits;

    /// <summary>Describes a tensor.</summary>
    /// <param name="content">uint8 bytes, or int4 and uint4 that need no unpacking.</param>
    /// <param name="dims">Dimensions in elements, without padding.</param>
    /// <param name="axis">The axis that is padded, the last one where elements share bytes.</param>
    /// <param name="paddedSize">Stored elements along it; 0 for as many as fill the bytes.</param>
    /// <param name="bits">Bits of an element.</param>
    internal PackedIntegers(ITensor content, long[] dims, int axis, long paddedSize, int bits)
    {
        int perByte = 8 / bits;
        _content = content;
        _dims = dims;
        _axis = axis;
        _bits = bits;
        _paddedSize = paddedSize == 0 || axis != dims.Length - 1 ? (dims[^1] + perByte - 1) / perByte * perByte : paddedSize;
    }

    /// <summary>The elements in their dimensions: uint4 for 4 bits, otherwise uint8; int4 and uint4 as they are.</summary>
    internal ITensor Unpack()
    {
        if (_content.ElementType is DataType.Int4 or DataType.UInt4)
        {
            return _content;
        }

        DataType type = _bits == 4 ? DataType.UInt4 : DataType.UInt8;
        long count = _dims.Aggregate(1L, (n, d) => n * d);
        bool isPadded = _paddedSize != _dims[^1];
        if (!isPadded && _bits is 4 or 8)
        {
            return new RetypedTensor(_content, type, _dims);
        }

        byte[] source = _content.ToBytes();
        byte[] elements = new byte[count];
        long width = _dims[^1];
        long rowBytes = _paddedSize * _bits / 8;
        int mask = (1 << _bits) - 1;
        for (long i = 0; i < count; i++)
        {
            (long row, long column) = Math.DivRem(i, width);
            long bit = column * _bits;
            elements[i] = (byte)((source[(row * rowBytes) + (bit / 8)] >> (int)(bit % 8)) & mask);
        }

        return new DenseTensor(type, _dims, _bits == 4 ? Nibbles(elements) : elements);
    }

    /// <summary>A tensor of one number throughout.</summary>
    internal static DenseTensor Filled(DataType type, long[] dims, int number)
    {
        byte[] elements = new byte[dims.Aggregate(1L, (n, d) => n * d)];
        elements.AsSpan().Fill((byte)number);
        return new DenseTensor(type, dims, type == DataType.UInt4 ? Nibbles(elements) : elements);
    }

    private static byte[] Nibbles(byte[] elements)
    {
        byte[] packed = new byte[(elements.Length + 1) / 2];
        for (int i = 0; i < elements.Length; i++)
        {
            packed[i / 2] |= (byte)(elements[i] << (4 * (i % 2)));
        }

        return packed;
    }
}
