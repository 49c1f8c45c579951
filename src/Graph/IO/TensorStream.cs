using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.IO;

/// <summary>Writes raw data of tensors to streams without holding more than a part of it.</summary>
internal static class TensorStream
{
    private const int ChunkSize = 1 << 20;

    /// <summary>Writes all raw data of a tensor.</summary>
    public static void Copy(ITensor tensor, Stream stream)
    {
        if (tensor is DenseTensor dense)
        {
            stream.Write(dense.Data.Span);
            return;
        }

        byte[] chunk = new byte[Math.Min(ChunkSize, tensor.ByteLength)];
        for (long offset = 0; offset < tensor.ByteLength; offset += chunk.Length)
        {
            Span<byte> part = chunk.AsSpan(0, (int)Math.Min(chunk.Length, tensor.ByteLength - offset));
            tensor.Read(offset, part);
            stream.Write(part);
        }
    }
}
