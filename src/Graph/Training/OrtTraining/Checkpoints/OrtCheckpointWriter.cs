using System.Buffers;
using Google.FlatBuffers;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Training.OrtTraining.Checkpoints.CheckpointFields;

namespace OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;

/// <summary>Writes checkpoints that ONNX Runtime's on-device training reads.</summary>
public static class OrtCheckpointWriter
{
    /// <summary>Bytes of parameters above which their data go into a file of their own, as ONNX Runtime itself does it.</summary>
    public const long DefaultExternalDataThreshold = 1_800_000_000;

    /// <summary>Tensors below this size stay in the checkpoint itself.</summary>
    private const long SmallestExternalTensor = 64;

    /// <summary>Bytes of a table, its vtable and its strings, at most, for the builder's first size.</summary>
    private const int TableAllowance = 512;

    /// <summary>Writes a checkpoint; each file appears whole or not at all.</summary>
    /// <param name="path">The file to create or replace. Data outside it go to the same path with <c>.data</c> appended.</param>
    /// <param name="checkpoint">What to write.</param>
    /// <param name="externalDataThreshold">Bytes of parameters above which data go into a file of their own. The browser cannot read such checkpoints.</param>
    /// <exception cref="ConfigurationException">The checkpoint holds what its version, or the format, has no place for.</exception>
    /// <exception cref="FileWriteException">A file cannot be written.</exception>
    public static void Write(string path, OrtCheckpoint checkpoint, long externalDataThreshold = DefaultExternalDataThreshold)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        CheckpointParameter[] parameters = [.. checkpoint.Trainable, .. checkpoint.Frozen];
        bool isExternal = parameters.Sum(p => p.Value?.ByteLength ?? 0) > externalDataThreshold;
        Require(checkpoint, parameters, isExternal);
        if (!isExternal)
        {
            byte[] whole = Build(checkpoint, null);
            AtomicFile.Write(path, stream => stream.Write(whole));
            return;
        }

        // Both files are whole before either gets its name.
        using AtomicFile data = AtomicFile.Create(path + ExternalDataSuffix);
        using AtomicFile file = AtomicFile.Create(path);
        byte[]? bytes = null;
        data.Fill(stream => bytes = Build(checkpoint, stream));
        file.Fill(stream => stream.Write(bytes));
        data.Commit();
        file.Commit();
    }

    private static void Require(OrtCheckpoint checkpoint, CheckpointParameter[] parameters, bool isExternal)
    {
        List<string> faults = [];
        if (checkpoint.Version is not (OrtCheckpoint.FirstVersion or OrtCheckpoint.CurrentVersion))
        {
            faults.Add($"A checkpoint's version is {OrtCheckpoint.FirstVersion} (ONNX Runtime 1.17) or {OrtCheckpoint.CurrentVersion} (1.18, 1.19), not {checkpoint.Version}.");
        }

        if (checkpoint.Version < OrtCheckpoint.CurrentVersion && (checkpoint.IsNominal || isExternal))
        {
            faults.Add($"A checkpoint of version {checkpoint.Version} is neither nominal nor keeps its data outside; write version {OrtCheckpoint.CurrentVersion}.");
        }

        faults.AddRange(parameters.GroupBy(p => p.Name).Where(g => g.Count() > 1).Select(g => $"Two parameters of the checkpoint are named '{g.Key}'."));
        faults.AddRange(parameters.Where(p => (p.Value is null) != checkpoint.IsNominal).Select(p => checkpoint.IsNominal
            ? $"A nominal checkpoint holds no values, but '{p.Name}' has one."
            : $"Parameter '{p.Name}' has no value; only a nominal checkpoint may leave it out."));
        faults.AddRange(parameters.Where(p => p.ElementType is DataType.String or DataType.Undefined).Select(p => $"Parameter '{p.Name}' is {p.ElementType.OnnxName()}; a checkpoint holds numbers."));
        faults.AddRange(checkpoint.Properties.Where(p => p.Value is not (long or float or string))
            .Select(p => $"Property '{p.Key}' is a {p.Value.GetType().Name}; a checkpoint holds long, float and string."));
        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }
    }

    private static byte[] Build(OrtCheckpoint checkpoint, Stream? external)
    {
        long inline = checkpoint.OptimizerGroups.SelectMany(g => g.Moments.Values).SelectMany(m => m.Values).Sum(t => t.ByteLength + TableAllowance)
            + checkpoint.Trainable.Concat(checkpoint.Frozen).Sum(p => (external is null ? p.Value?.ByteLength ?? 0 : 0) + TableAllowance);
        if (inline > int.MaxValue - (1 << 20))
        {
            throw new ConfigurationException(
                $"The checkpoint would hold {inline} bytes beside what goes into its data file; a FlatBuffers file ends at 2 GB. Save it without the optimizer's state.");
        }

        FlatBufferBuilder builder = new((int)Math.Max(1024, inline));
        TensorSink sink = new(builder, external);
        int module = BuildModule(builder, checkpoint, sink);
        int groups = Vector(builder, [.. checkpoint.OptimizerGroups.Select(g => BuildGroup(builder, g))]);
        int bag = checkpoint.Properties.Count == 0 ? 0 : BuildProperties(builder, checkpoint.Properties);
        builder.StartTable(Root.Count);
        builder.AddInt(Root.Version, checkpoint.Version, 0);
        builder.AddOffset(Root.ModuleState, module, 0);
        builder.AddOffset(Root.OptimizerGroups, checkpoint.OptimizerGroups.Count == 0 ? 0 : groups, 0);
        builder.AddOffset(Root.PropertyBag, bag, 0);
        builder.Finish(builder.EndTable(), Identifier);
        return builder.SizedByteArray();
    }

    private static int BuildModule(FlatBufferBuilder builder, OrtCheckpoint checkpoint, TensorSink sink)
    {
        // ONNX Runtime wants both lists, empty or not.
        int trainable = Vector(builder, [.. checkpoint.Trainable.Select(p => sink.Add(p.Name, p.ElementType, p.Value))]);
        int frozen = Vector(builder, [.. checkpoint.Frozen.Select(p => sink.Add(p.Name, p.ElementType, p.Value))]);
        builder.StartTable(Module.Count);
        builder.AddOffset(Module.Trainable, trainable, 0);
        builder.AddOffset(Module.Frozen, frozen, 0);
        builder.AddBool(Module.IsNominal, checkpoint.IsNominal, false);
        builder.AddBool(Module.HasExternalData, sink.IsExternal, false);
        return builder.EndTable();
    }

    private static int BuildGroup(FlatBufferBuilder builder, OptimizerGroupState group)
    {
        TensorSink inline = new(builder, null);
        List<int> states = [];
        foreach ((string parameter, IReadOnlyDictionary<string, ITensor> moments) in group.Moments)
        {
            int tensors = Vector(builder, [.. moments.Select(m => inline.Add(m.Key, m.Value.ElementType, m.Value))]);
            int name = builder.CreateString(parameter).Value;
            builder.StartTable(ParameterState.Count);
            builder.AddOffset(ParameterState.Name, name, 0);
            builder.AddOffset(ParameterState.Moments, tensors, 0);
            states.Add(builder.EndTable());
        }

        int vector = Vector(builder, states);
        int groupName = builder.CreateString(group.Name).Value;
        builder.StartTable(Group.Count);
        builder.AddOffset(Group.Name, groupName, 0);
        builder.AddLong(Group.Step, group.Step, 0);
        builder.AddFloat(Group.InitialLearningRate, group.InitialLearningRate, 0);
        builder.AddOffset(Group.States, vector, 0);
        return builder.EndTable();
    }

    private static int BuildProperties(FlatBufferBuilder builder, IReadOnlyDictionary<string, object> properties)
    {
        int integers = Properties<long>(builder, properties, (b, v) => b.AddLong(Property.Value, v, 0));
        int floats = Properties<float>(builder, properties, (b, v) => b.AddFloat(Property.Value, v, 0));
        List<int> texts = [];
        foreach ((string name, string text) in properties.Where(p => p.Value is string).Select(p => (p.Key, (string)p.Value)))
        {
            int nameOffset = builder.CreateString(name).Value;
            int textOffset = builder.CreateString(text).Value;
            builder.StartTable(Property.Count);
            builder.AddOffset(Property.Name, nameOffset, 0);
            builder.AddOffset(Property.Value, textOffset, 0);
            texts.Add(builder.EndTable());
        }

        int strings = Vector(builder, texts);
        builder.StartTable(Bag.Count);
        builder.AddOffset(Bag.Integers, integers, 0);
        builder.AddOffset(Bag.Floats, floats, 0);
        builder.AddOffset(Bag.Strings, strings, 0);
        return builder.EndTable();
    }

    private static int Properties<T>(FlatBufferBuilder builder, IReadOnlyDictionary<string, object> properties, Action<FlatBufferBuilder, T> addValue)
    {
        List<int> tables = [];
        foreach ((string name, object value) in properties.Where(p => p.Value is T))
        {
            int nameOffset = builder.CreateString(name).Value;
            builder.StartTable(Property.Count);
            builder.AddOffset(Property.Name, nameOffset, 0);
            addValue(builder, (T)value);
            tables.Add(builder.EndTable());
        }

        return Vector(builder, tables);
    }

    private static int Vector(FlatBufferBuilder builder, IReadOnlyList<int> offsets)
    {
        // FlatBuffers are written from the end to the start.
        builder.StartVector(sizeof(int), offsets.Count, sizeof(int));
        for (int i = offsets.Count - 1; i >= 0; i--)
        {
            builder.AddOffset(offsets[i]);
        }

        return builder.EndVector().Value;
    }

    /// <summary>Puts tensors into the builder, or the data of large ones into the file beside the checkpoint.</summary>
    private sealed class TensorSink(FlatBufferBuilder builder, Stream? external)
    {
        /// <summary>Start of a tensor's data; larger than ONNX Runtime asks for, so that any element type is aligned.</summary>
        private const int Alignment = 8;

        private const int PartLength = 1 << 22;

        internal bool IsExternal => external is not null;

        internal int Add(string name, DataType type, ITensor? value)
        {
            long offset = Inline;
            int data = 0;
            if (value is not null && external is not null && value.ByteLength >= SmallestExternalTensor)
            {
                offset = Append(external, value);
            }
            else
            {
                byte[] bytes = value?.ToBytes() ?? [];
                builder.StartVector(sizeof(byte), bytes.Length, Alignment);
                if (bytes.Length > 0)
                {
                    builder.Put(bytes);
                }

                data = builder.EndVector().Value;
            }

            builder.StartVector(sizeof(long), value?.Dims.Length ?? 0, sizeof(long));
            foreach (long dim in (value?.Dims ?? []).Reverse())
            {
                builder.AddLong(dim);
            }

            int dims = builder.EndVector().Value;
            int nameOffset = builder.CreateString(name).Value;
            builder.StartTable(TensorFields.Count);
            builder.AddOffset(TensorFields.Name, nameOffset, 0);
            builder.AddOffset(TensorFields.Dims, dims, 0);
            builder.AddInt(TensorFields.DataType, (int)type, 0);
            builder.AddOffset(TensorFields.RawData, data, 0);
            builder.AddLong(TensorFields.ExternalOffset, offset, Inline);
            return builder.EndTable();
        }

        private static long Append(Stream stream, ITensor value)
        {
            byte[] buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(PartLength, value.ByteLength));
            try
            {
                stream.Write(new byte[(Alignment - (stream.Position % Alignment)) % Alignment]);
                long start = stream.Position;
                for (long position = 0; position < value.ByteLength; position += buffer.Length)
                {
                    Span<byte> part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, value.ByteLength - position));
                    value.Read(position, part);
                    stream.Write(part);
                }

                return start;
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }
    }
}
