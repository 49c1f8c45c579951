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
        TensorProtoReader.Size(values.ElementType, proto.Dims, context, where);
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
