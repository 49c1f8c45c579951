using System.Buffers.Binary;
using System.Numerics;

namespace OrtQLoRA.Trainer.Reports.TensorBoard;

/// <summary>
/// TFRecord: for each record its length (uint64), the length's checksum, the content, the content's checksum, all
/// little-endian. A checksum is CRC-32C, rotated right by 15 bits and added to 0xa282ead8.
/// </summary>
internal static class RecordWriter
{
    private const uint MaskDelta = 0xa282ead8;

    /// <summary>Makes a record of a content.</summary>
    internal static byte[] Frame(ReadOnlySpan<byte> content)
    {
        byte[] record = new byte[sizeof(ulong) + sizeof(uint) + content.Length + sizeof(uint)];
        BinaryPrimitives.WriteUInt64LittleEndian(record, (ulong)content.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(sizeof(ulong)), MaskedCrc(record.AsSpan(0, sizeof(ulong))));
        content.CopyTo(record.AsSpan(sizeof(ulong) + sizeof(uint)));
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(record.Length - sizeof(uint)), MaskedCrc(content));
        return record;
    }

    /// <summary>The checksum as records hold it.</summary>
    internal static uint MaskedCrc(ReadOnlySpan<byte> content)
    {
        uint crc = uint.MaxValue;
        foreach (byte b in content)
        {
            crc = BitOperations.Crc32C(crc, b);
        }

        return BitOperations.RotateRight(~crc, 15) + MaskDelta;
    }
}
