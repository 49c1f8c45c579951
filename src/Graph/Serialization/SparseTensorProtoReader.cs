using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Turns sparse tensor messages into tensors.</summary>
internal static class SparseTensorProtoReader
{
    /// <summary>Reads a sparse tensor.</summary>
    /// <param name="proto">The message; its values are present.</param>
    /// <param name="context">The reading that this is part of.</param>
    /// <param name="where">The tensor, for messages.</param>
    public static SparseTensor Read(SparseTensorProto proto, ReadContext context, string where)
    {
        ITensor values = TensorProtoReader.Read(proto.Values, context, $"the values of {where}");
        ITensor indices = TensorProtoReader.Read(
            proto.Indices ?? throw context.Error($"{where} has no indices. The file is damaged."), context, $"the indices of {where}");
        long count = TensorProtoReader.CountElements(proto.Dims, context, where);
        if ((Int128)count * values.ElementType.BitWidth() / 8 > long.MaxValue)
        {
            throw context.Error($"{where}, {values.ElementType.OnnxName()}[{string.Join(", ", proto.Dims)}], would take more than 2^63 bytes.");
        }

        try
        {
            return new SparseTensor(values, indices, proto.Dims);
        }
        catch (ArgumentException e)
        {
            throw context.Error($"{where} is malformed: {e.Message}.", e);
        }
    }
}
