using System.Text;
using Google.Protobuf;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>
/// Reads ONNX models. The file is untrusted: sizes are checked before allocation, external data stays in the
/// model's folder, and whatever is wrong becomes a <see cref="ModelFormatException"/>.
/// </summary>
public static class OnnxModelReader
{
    // Before version 3 of the format, files named no operator set; there was only the first.
    private const long FirstIrVersionWithOpsets = 3;

    private const string InMemory = "the model in memory";

    /// <summary>
    /// Reads a model file. Large weights are mapped, in the file itself and in external data files, and the model owns the
    /// mappings: what nobody reads takes no memory.
    /// </summary>
    /// <param name="path">The .onnx file; it must not change while the model is in use.</param>
    /// <returns>The model; dispose it to release the mapped files.</returns>
    /// <exception cref="ModelFormatException">The file is absent, no ONNX model, truncated, malformed or hostile.</exception>
    public static OnnxModel Read(string path)
    {
        path = ModelFolder.Resolve(path);
        MappedFile file = MappedFile.Open(path);
        try
        {
            if (file.Length > int.MaxValue)
            {
                throw new ModelFormatException($"'{path}' has {file.Length} bytes; protobuf ends at 2 GB. Export the model with external data.");
            }

            string full = Path.GetFullPath(path);
            ReadOnlySpan<byte> bytes = file.AsSpan(0, (int)file.Length);
            ModelSkeleton? skeleton = ModelSkeleton.Of(bytes);
            ReadContext context = new($"'{path}'", new ExternalDataReader($"'{path}'", Path.GetDirectoryName(full), full))
            {
                Inline = skeleton is null ? null : new InlineData(file, skeleton.RawData),
            };
            OnnxModel model = Read(skeleton is null ? bytes : skeleton.Message.Span, context);
            model.ModelType = ModelFolder.ModelType(full);
            if (skeleton is null)
            {
                file.Dispose();
            }
            else
            {
                model.Own(file);
            }

            return model;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads a model from memory.</summary>
    /// <param name="bytes">The serialized model.</param>
    /// <param name="baseFolder">Folder of its external data files; null if it has none.</param>
    /// <returns>The model; dispose it to release the mapped data files.</returns>
    /// <exception cref="ModelFormatException">The bytes are no ONNX model, truncated, malformed or hostile.</exception>
    public static OnnxModel Read(ReadOnlyMemory<byte> bytes, string? baseFolder = null) =>
        Read(bytes.Span, new ReadContext(InMemory, new ExternalDataReader(InMemory, baseFolder is null ? null : Path.GetFullPath(baseFolder), modelPath: null)));

    private static OnnxModel Read(ReadOnlySpan<byte> bytes, ReadContext context)
    {
        ModelProto proto = Parse(bytes, context.Source);
        try
        {
            OnnxModel model = ReadModel(proto, context);
            context.ExternalData.CheckOverlaps();
            foreach (MappedFile file in context.ExternalData.Files)
            {
                model.Own(file);
            }

            return model;
        }
        catch (Exception e)
        {
            foreach (MappedFile file in context.ExternalData.Files)
            {
                file.Dispose();
            }

            // The IR's own checks know the graph but not the file.
            if (e is GraphException)
            {
                throw context.Error(e.Message, e);
            }

            throw;
        }
    }

    private static ModelProto Parse(ReadOnlySpan<byte> bytes, string source)
    {
        if (bytes.Length >= 8 && bytes[4..8].SequenceEqual("ORTM"u8))
        {
            throw new ModelFormatException($"{source} is a model in ONNX Runtime's own format (.ort), from which the graph cannot be edited. Use the ONNX model it was made from.");
        }

        if (bytes.StartsWith("version https://git-lfs"u8))
        {
            throw new ModelFormatException($"{source} is a Git LFS pointer, not the model. Run 'git lfs pull' in its repository.");
        }

        ModelProto proto;
        try
        {
            proto = ModelProto.Parser.ParseFrom(bytes);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or DecoderFallbackException or ArgumentException)
        {
            throw new ModelFormatException($"{source} is no ONNX model, or it is truncated: {e.Message} Download or export it again.", e);
        }

        return proto.Graph is null || !proto.HasIrVersion || proto.IrVersion < 1
            ? throw new ModelFormatException($"{source} is no ONNX model: it has {(proto.Graph is null ? "no graph" : "no version of the format")}. Name an .onnx file.")
            : proto;
    }

    private static OnnxModel ReadModel(ModelProto proto, ReadContext context)
    {
        GraphProtoReader graphs = new(context);
        OnnxModel model = new(graphs.ReadGraph(proto.Graph, parent: null))
        {
            IrVersion = proto.IrVersion,
            ProducerName = proto.HasProducerName ? proto.ProducerName : null,
            ProducerVersion = proto.HasProducerVersion ? proto.ProducerVersion : null,
            Domain = proto.HasDomain ? proto.Domain : null,
            ModelVersion = proto.HasModelVersion ? proto.ModelVersion : null,
            DocString = proto.HasDocString ? proto.DocString : null,
        };
        OpsetImports.Read(proto.OpsetImport, model.OpsetImports, "the model", context);
        if (model.OpsetImports.Count == 0 && model.IrVersion < FirstIrVersionWithOpsets)
        {
            model.Opset = 1;
        }

        foreach (FunctionProto function in proto.Functions)
        {
            model.Functions.Add(graphs.ReadFunction(function));
        }

        FileDetails.Take(proto.MetadataProps, model.Metadata);
        proto.Graph = null;
        proto.Functions.Clear();
        proto.ClearIrVersion();
        proto.ClearProducerName();
        proto.ClearProducerVersion();
        proto.ClearDomain();
        proto.ClearModelVersion();
        proto.ClearDocString();
        foreach (TrainingInfoProto training in proto.TrainingInfo)
        {
            ExternalDataInliner.Inline(training, context, "the training info");
        }

        model.Unmodelled = FileDetails.Remainder(proto);
        return model;
    }
}
