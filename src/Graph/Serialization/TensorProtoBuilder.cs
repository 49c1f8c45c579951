using System.Globalization;
using Google.Protobuf;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Turns tensors into messages. Data in memory is shared with the message, not copied.</summary>
internal sealed class TensorProtoBuilder(ExternalDataLayout? layout)
{
    private const int External = 1;

    /// <summary>Bytes of raw data that the messages built so far hold.</summary>
    public long InlineBytes { get; private set; }

    /// <summary>Fills a message with a whole tensor, inline or as a reference to the data file.</summary>
    public void Fill(TensorProto proto, ITensor tensor, bool ofAttribute)
    {
        if (!FillHeader(proto, tensor, ofAttribute))
        {
            InlineBytes += tensor.ByteLength;
            ModelSize.Check(InlineBytes);
            proto.RawData = UnsafeByteOperations.UnsafeWrap(tensor is DenseTensor dense ? dense.Data : tensor.ToBytes());
        }
    }

    /// <summary>Fills a message with all but inline raw data.</summary>
    /// <returns>Whether the message is whole: strings, or a reference to the data file.</returns>
    public bool FillHeader(TensorProto proto, ITensor tensor, bool ofAttribute)
    {
        proto.Dims.AddRange(tensor.Dims);
        proto.DataType = (int)tensor.ElementType;
        if (tensor is StringTensor strings)
        {
            proto.StringData.AddRange(strings.Values.Select(v => UnsafeByteOperations.UnsafeWrap(v)));
            return true;
        }

        if (layout?.Takes(tensor, ofAttribute) != true)
        {
            return false;
        }

        (string location, long offset) = layout.Place(tensor);
        Refer(proto, location, offset, tensor.ByteLength);
        return true;
    }

    /// <summary>Fills a message with a reference to data that the reader gets by other ways.</summary>
    public static void FillReference(TensorProto proto, ITensor tensor, string location)
    {
        proto.Dims.AddRange(tensor.Dims);
        proto.DataType = (int)tensor.ElementType;
        Refer(proto, location, 0, tensor.ByteLength);
    }

    /// <summary>Fills a message with a sparse tensor.</summary>
    public SparseTensorProto Build(string name, SparseTensor sparse)
    {
        SparseTensorProto proto = new() { Values = new() { Name = name }, Indices = new() };
        proto.Dims.AddRange(sparse.Dims);
        Fill(proto.Values, sparse.Values, ofAttribute: true);
        Fill(proto.Indices, sparse.Indices, ofAttribute: true);
        return proto;
    }

    private static void Refer(TensorProto proto, string location, long offset, long length)
    {
        proto.DataLocation = External;
        proto.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = location });
        proto.ExternalData.Add(new StringStringEntryProto { Key = "offset", Value = offset.ToString(CultureInfo.InvariantCulture) });
        proto.ExternalData.Add(new StringStringEntryProto { Key = "length", Value = length.ToString(CultureInfo.InvariantCulture) });
    }
}
