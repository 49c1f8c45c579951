using Google.Protobuf;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>
/// A model ready to be written: small messages built whole, and the main graph's initializers as messages without
/// content whose raw data streams from the tensors. Nothing is held twice.
/// </summary>
internal sealed class ModelSerializer
{
    private const int GraphTag = (ModelProto.GraphFieldNumber << 3) | (int)WireFormat.WireType.LengthDelimited;
    private const int InitializerTag = (GraphProto.InitializerFieldNumber << 3) | (int)WireFormat.WireType.LengthDelimited;
    private const int RawDataTag = (TensorProto.RawDataFieldNumber << 3) | (int)WireFormat.WireType.LengthDelimited;

    private readonly ModelProto _header;
    private readonly GraphProto _graph;
    private readonly List<(TensorProto Proto, ITensor? Content)> _initializers = [];
    private readonly long _graphLength;

    /// <param name="model">The model.</param>
    /// <param name="layout">Takes large tensors; null to keep all in one file.</param>
    /// <param name="suppliedAs">Data file name of an initializer whose content the reader gets by other ways, else null.</param>
    public ModelSerializer(OnnxModel model, ExternalDataLayout? layout, Func<Value, string?>? suppliedAs = null)
    {
        TensorProtoBuilder tensors = new(layout);
        GraphProtoBuilder graphs = new(tensors);
        List<(Value Value, TensorProto Proto)> initializers = [];
        _graph = graphs.Build(model.Graph, initializers);
        long initializerBytes = 0;
        foreach ((Value value, TensorProto proto) in initializers)
        {
            ITensor content = value.Initializer!;
            bool isWhole = false;
            if (content is not StringTensor && suppliedAs?.Invoke(value) is string location)
            {
                isWhole = true;
                TensorProtoBuilder.FillReference(proto, content, location);
            }
            else
            {
                isWhole = tensors.FillHeader(proto, content, ofAttribute: false);
            }

            _initializers.Add((proto, isWhole ? null : content));
            initializerBytes += isWhole ? 0 : content.ByteLength;
        }

        // Checked before any message is measured: protobuf measures in 31 bits without looking.
        _header = BuildHeader(model, graphs);
        ModelSize.Check(tensors.InlineBytes + initializerBytes);
        _graphLength = _graph.CalculateSize();
        foreach ((TensorProto proto, ITensor? content) in _initializers)
        {
            _graphLength += FieldLength(InitializerTag, InitializerLength(proto, content));
        }

        Length = _header.CalculateSize() + FieldLength(GraphTag, _graphLength);
        ModelSize.Check(Length);
    }

    /// <summary>Bytes that <see cref="Write"/> writes.</summary>
    public long Length { get; }

    /// <summary>Writes the model.</summary>
    public void Write(Stream stream)
    {
        _header.WriteTo(stream);
        WriteVarint(stream, GraphTag);
        WriteVarint(stream, _graphLength);
        _graph.WriteTo(stream);
        foreach ((TensorProto proto, ITensor? content) in _initializers)
        {
            WriteVarint(stream, InitializerTag);
            WriteVarint(stream, InitializerLength(proto, content));
            proto.WriteTo(stream);
            if (content is not null)
            {
                WriteVarint(stream, RawDataTag);
                WriteVarint(stream, content.ByteLength);
                TensorStream.Copy(content, stream);
            }
        }
    }

    private static ModelProto BuildHeader(OnnxModel model, GraphProtoBuilder graphs)
    {
        ModelProto proto = FileDetails.Restore(ModelProto.Parser, model.Unmodelled);
        proto.IrVersion = model.IrVersion;
        OpsetImports.Write(model.OpsetImports, proto.OpsetImport);
        if (model.ProducerName is { } producerName)
        {
            proto.ProducerName = producerName;
        }

        if (model.ProducerVersion is { } producerVersion)
        {
            proto.ProducerVersion = producerVersion;
        }

        if (model.Domain is { } domain)
        {
            proto.Domain = domain;
        }

        if (model.ModelVersion is { } modelVersion)
        {
            proto.ModelVersion = modelVersion;
        }

        if (model.DocString is { } docString)
        {
            proto.DocString = docString;
        }

        FileDetails.Put(model.Metadata, proto.MetadataProps);
        proto.Functions.AddRange(model.Functions.Select(graphs.Build));
        return proto;
    }

    private static long InitializerLength(TensorProto proto, ITensor? content) =>
        proto.CalculateSize() + (content is null ? 0 : FieldLength(RawDataTag, content.ByteLength));

    private static long FieldLength(int tag, long length) => VarintLength(tag) + VarintLength(length) + length;

    private static int VarintLength(long value) => CodedOutputStream.ComputeUInt64Size((ulong)value);

    private static void WriteVarint(Stream stream, long value)
    {
        for (; value > 0x7F; value >>= 7)
        {
            stream.WriteByte((byte)(value | 0x80));
        }

        stream.WriteByte((byte)value);
    }
}
