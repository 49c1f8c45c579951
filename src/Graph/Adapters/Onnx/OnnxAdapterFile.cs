using Google.FlatBuffers;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters.Onnx;

/// <summary>
/// ONNX Runtime's adapter files (<c>.onnx_adapter</c>): named tensors in FlatBuffers with the identifier <c>TORT</c>. Each
/// tensor replaces the graph input of its name while the adapter is active.
/// </summary>
/// <remarks>
/// Schema (onnxruntime/lora/adapter_format): <c>Adapter { format_version, adapter_version, model_version: int; parameters:
/// [Parameter] }</c>, <c>Parameter { name: string; dims: [int64]; data_type: int32 (ONNX's numbers); raw_data: [ubyte],
/// aligned to 8 }</c>.
/// </remarks>
public static class OnnxAdapterFile
{
    /// <summary>Extension of the files.</summary>
    public const string Extension = ".onnx_adapter";

    private const string Identifier = "TORT";
    private const int FormatVersion = 1;
    private const int RawDataAlignment = 8;

    // Numbers of the fields; the offset in a table's index is 4 + 2 * number.
    private const int FormatVersionField = 0;
    private const int AdapterVersionField = 1;
    private const int ModelVersionField = 2;
    private const int ParametersField = 3;
    private const int NameField = 0;
    private const int DimsField = 1;
    private const int DataTypeField = 2;
    private const int RawDataField = 3;

    // FlatBuffers count bytes in 31 bits; the rest is for names, dimensions and padding.
    private const long LargestFile = int.MaxValue - (16L << 20);

    /// <summary>Writes a file, which appears whole or not at all.</summary>
    /// <param name="path">The file; its folder must exist.</param>
    /// <param name="parameters">Tensors by name of the graph input.</param>
    /// <exception cref="ConfigurationException">The tensors take more than 2 GB, where the format ends.</exception>
    /// <exception cref="FileWriteException">The file cannot be written.</exception>
    public static void Write(string path, IReadOnlyCollection<KeyValuePair<string, ITensor>> parameters)
    {
        long bytes = parameters.Sum(p => p.Value.ByteLength);
        if (bytes > LargestFile)
        {
            throw new ConfigurationException($"The adapter takes {bytes} bytes, but an {Extension} file ends at {LargestFile}. Use a smaller rank or fewer modules, or export with --to merged.");
        }

        FlatBufferBuilder builder = new((int)Math.Min(LargestFile, bytes + (1L << 16)));
        int[] offsets = [.. parameters.Select(p => Write(builder, p.Key, p.Value))];
        builder.StartVector(sizeof(int), offsets.Length, sizeof(int));
        foreach (int offset in offsets.Reverse())
        {
            builder.AddOffset(offset);
        }

        VectorOffset list = builder.EndVector();
        builder.StartTable(4);
        builder.AddInt(FormatVersionField, FormatVersion, 0);
        builder.AddInt(AdapterVersionField, 1, 0);
        builder.AddInt(ModelVersionField, 1, 0);
        builder.AddOffset(ParametersField, list.Value, 0);
        builder.Finish(builder.EndTable(), Identifier);
        ArraySegment<byte> content = builder.DataBuffer.ToArraySegment(builder.DataBuffer.Position, builder.Offset);
        AtomicFile.Write(path, stream => stream.Write(content));
    }

    /// <summary>Reads a file. It is untrusted; every offset is checked before it is followed.</summary>
    /// <returns>Tensors by name, in the order of the file.</returns>
    /// <exception cref="ModelFormatException">The file is absent, no adapter, truncated or malformed.</exception>
    public static IReadOnlyDictionary<string, ITensor> Read(string path)
    {
        using MappedFile file = MappedFile.Open(path);
        if (file.Length > int.MaxValue)
        {
            throw new ModelFormatException($"'{path}' has {file.Length} bytes; {Extension} files end at 2 GB.");
        }

        ByteBuffer buffer = new(file.AsSpan(0, (int)file.Length).ToArray());
        if (!IsSound(buffer))
        {
            throw new ModelFormatException($"'{path}' is no {Extension} file of ONNX Runtime, or it is truncated. Write or download it again.");
        }

        Table adapter = Root(buffer);
        int version = adapter.__offset(Slot(FormatVersionField)) is > 0 and int at ? buffer.GetInt(at + adapter.bb_pos) : 0;
        if (version != FormatVersion)
        {
            throw new ModelFormatException($"'{path}' has format version {version}; {FormatVersion} is expected.");
        }

        OrderedDictionary<string, ITensor> tensors = new(StringComparer.Ordinal);
        foreach (Table parameter in Parameters(adapter))
        {
            (string name, ITensor tensor) = Read(parameter, path);
            if (!tensors.TryAdd(name, tensor))
            {
                throw new ModelFormatException($"'{path}' names parameter '{name}' twice. Only one can be meant.");
            }
        }

        return tensors;
    }

    private static int Write(FlatBufferBuilder builder, string name, ITensor tensor)
    {
        byte[] raw = tensor.ToBytes();
        builder.StartVector(1, raw.Length, RawDataAlignment);
        if (raw.Length > 0)
        {
            builder.Put<byte>(raw);
        }

        VectorOffset data = builder.EndVector();
        builder.StartVector(sizeof(long), tensor.Dims.Length, sizeof(long));
        foreach (long dim in tensor.Dims.Reverse())
        {
            builder.AddLong(dim);
        }

        VectorOffset dims = builder.EndVector();
        StringOffset key = builder.CreateString(name);
        builder.StartTable(4);
        builder.AddOffset(NameField, key.Value, 0);
        builder.AddOffset(DimsField, dims.Value, 0);
        builder.AddInt(DataTypeField, (int)tensor.ElementType, 0);
        builder.AddOffset(RawDataField, data.Value, 0);
        return builder.EndTable();
    }

    private static bool IsSound(ByteBuffer buffer)
    {
        try
        {
            return buffer.Length >= 2 * sizeof(int) && new Verifier(buffer).VerifyBuffer(Identifier, false, VerifyAdapter);
        }
        catch (Exception e) when (e is OverflowException or ArgumentException or IndexOutOfRangeException)
        {
            // The library's verifier computes some offsets before it looks at them.
            return false;
        }
    }

    private static bool VerifyAdapter(Verifier verifier, uint position) =>
        verifier.VerifyTableStart(position)
        && verifier.VerifyField(position, Slot(FormatVersionField), sizeof(int), sizeof(int), false)
        && verifier.VerifyField(position, Slot(AdapterVersionField), sizeof(int), sizeof(int), false)
        && verifier.VerifyField(position, Slot(ModelVersionField), sizeof(int), sizeof(int), false)
        && verifier.VerifyVectorOfTables(position, Slot(ParametersField), VerifyParameter, false)
        && verifier.VerifyTableEnd(position);

    private static bool VerifyParameter(Verifier verifier, uint position) =>
        verifier.VerifyTableStart(position)
        && verifier.VerifyString(position, Slot(NameField), true)
        && verifier.VerifyVectorOfData(position, Slot(DimsField), sizeof(long), true)
        && verifier.VerifyField(position, Slot(DataTypeField), sizeof(int), sizeof(int), false)
        && verifier.VerifyVectorOfData(position, Slot(RawDataField), 1, false)
        && verifier.VerifyTableEnd(position);

    private static (string Name, ITensor Tensor) Read(Table table, string path)
    {
        string name = table.__string(table.__offset(Slot(NameField)) + table.bb_pos);
        int dimsAt = table.__offset(Slot(DimsField));
        long[] dims = new long[table.__vector_len(dimsAt)];
        for (int i = 0; i < dims.Length; i++)
        {
            dims[i] = table.bb.GetLong(table.__vector(dimsAt) + (i * sizeof(long)));
        }

        DataType type = table.__offset(Slot(DataTypeField)) is > 0 and int typeAt ? (DataType)table.bb.GetInt(typeAt + table.bb_pos) : DataType.Undefined;
        int dataAt = table.__offset(Slot(RawDataField));
        int length = dataAt > 0 ? table.__vector_len(dataAt) : 0;
        if (!Enum.IsDefined(type) || type is DataType.Undefined or DataType.String || !TensorSize.TryCompute(type, dims, out _, out long expected) || expected != length)
        {
            throw new ModelFormatException($"'{path}': parameter '{name}', {type.OnnxName()}[{string.Join(", ", dims)}], does not fit its {length} bytes of data. The file is damaged.");
        }

        byte[] data = length > 0 ? table.bb.ToArray(table.__vector(dataAt), length) : [];
        return (name, new DenseTensor(type, dims, data));
    }

    private static Table Root(ByteBuffer buffer) => new(buffer.GetInt(0), buffer);

    private static IEnumerable<Table> Parameters(Table adapter)
    {
        int at = adapter.__offset(Slot(ParametersField));
        for (int i = 0; at > 0 && i < adapter.__vector_len(at); i++)
        {
            yield return new Table(adapter.__indirect(adapter.__vector(at) + (i * sizeof(int))), adapter.bb);
        }
    }

    private static short Slot(int field) => (short)(4 + (2 * field));
}
