using System.Text;
using Google.FlatBuffers;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Training.OrtTraining.Checkpoints.CheckpointFields;

namespace OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;

/// <summary>
/// Reads checkpoints of ONNX Runtime's on-device training, versions 1 and 2. The file is untrusted: offsets are verified, sizes
/// compared with shapes and types, before a tensor is handed out. Numbers stay where they are until they are read.
/// </summary>
public static class OrtCheckpointReader
{
    /// <summary>Reads a checkpoint.</summary>
    /// <param name="path">The file; data that it keeps outside lies beside it under its name with <c>.data</c> appended.</param>
    /// <exception cref="ModelFormatException">The file is absent, no checkpoint, damaged, or of a version that is not known.</exception>
    public static OrtCheckpoint Read(string path)
    {
        byte[] bytes = ReadAll(path);
        ByteBuffer buffer = new(bytes);
        if (bytes.Length < 8 || Encoding.ASCII.GetString(bytes, 4, 4) != Identifier)
        {
            throw new ModelFormatException(
                $"'{path}' is no checkpoint of ONNX Runtime's training: bytes 4 to 7 are not '{Identifier}'. Name the file that 'ortqlora artifacts' or SaveCheckpoint wrote.");
        }

        if (!Verify(buffer))
        {
            throw Damaged(path, "an offset or a length points outside the file. Copy or write it again");
        }

        CheckpointTable root = CheckpointTable.Root(buffer);
        int version = root.Int32(Root.Version);
        if (version is not (OrtCheckpoint.FirstVersion or OrtCheckpoint.CurrentVersion))
        {
            throw new ModelFormatException(
                $"'{path}' is a checkpoint of version {version}; versions {OrtCheckpoint.FirstVersion} (ONNX Runtime 1.17) and {OrtCheckpoint.CurrentVersion} (1.18, 1.19) are known.");
        }

        MappedFile? data = null;
        try
        {
            CheckpointTable? module = root.Child(Root.ModuleState);
            if (module?.Boolean(Module.HasExternalData) == true)
            {
                data = MappedFile.Open(path + ExternalDataSuffix);
            }

            TensorSource source = new(path, bytes, data);
            bool isNominal = module?.Boolean(Module.IsNominal) == true;
            OrtCheckpoint checkpoint = new(data)
            {
                Version = version,
                IsNominal = isNominal,
                Trainable = Parameters(source, module, Module.Trainable, isNominal),
                Frozen = Parameters(source, module, Module.Frozen, isNominal),
                OptimizerGroups = [.. root.Children(Root.OptimizerGroups).Select(g => ReadGroup(source, g))],
                Properties = ReadProperties(path, root.Child(Root.PropertyBag)),
            };
            RequireUnique(path, checkpoint.Trainable.Concat(checkpoint.Frozen).Select(p => p.Name), "parameters");
            RequireUnique(path, checkpoint.OptimizerGroups.Select(g => g.Name), "optimizer groups");
            return checkpoint;
        }
        catch
        {
            data?.Dispose();
            throw;
        }
    }

    private static byte[] ReadAll(string path)
    {
        // Mapped first: it refuses folders, pipes and empty files with a sentence of its own.
        using MappedFile file = MappedFile.Open(path);
        if (file.Length > Array.MaxLength)
        {
            throw new ModelFormatException($"'{path}' has {file.Length} bytes; a FlatBuffers file ends at 2 GB, larger checkpoints keep their data in '{path}{ExternalDataSuffix}'.");
        }

        byte[] bytes = GC.AllocateUninitializedArray<byte>((int)file.Length);
        file.CopyTo(0, bytes);
        return bytes;
    }

    private static bool Verify(ByteBuffer buffer)
    {
        try
        {
            return CheckpointVerifier.Verify(buffer);
        }
        catch (Exception e) when (e is ArgumentException or IndexOutOfRangeException or OverflowException)
        {
            // The library's verifier itself reads past the end where a field lies in the last bytes.
            return false;
        }
    }

    private static List<CheckpointParameter> Parameters(TensorSource source, CheckpointTable? module, int slot, bool isNominal) =>
        module is CheckpointTable table ? [.. table.Children(slot).Select(t => source.Parameter(t, isNominal))] : [];

    private static OptimizerGroupState ReadGroup(TensorSource source, CheckpointTable group)
    {
        string name = source.Text(group, Group.Name, "an optimizer group");
        Dictionary<string, IReadOnlyDictionary<string, ITensor>> moments = new(StringComparer.Ordinal);
        foreach (CheckpointTable state in group.Children(Group.States))
        {
            string parameter = source.Text(state, ParameterState.Name, "an optimizer state");
            CheckpointParameter[] tensors = [.. state.Children(ParameterState.Moments).Select(t => source.Parameter(t, isNominal: false))];
            RequireUnique(source.Path, tensors.Select(t => t.Name), $"states of '{parameter}'");
            if (!moments.TryAdd(parameter, tensors.ToDictionary(t => t.Name, t => t.Value!, StringComparer.Ordinal)))
            {
                throw Damaged(source.Path, $"two optimizer states belong to '{parameter}'");
            }
        }

        return new OptimizerGroupState(name, group.Int64(Group.Step), group.Single(Group.InitialLearningRate), moments);
    }

    private static Dictionary<string, object> ReadProperties(string path, CheckpointTable? bag)
    {
        Dictionary<string, object> properties = new(StringComparer.Ordinal);
        void Add(int slot, Func<CheckpointTable, object> value)
        {
            foreach (CheckpointTable property in bag!.Value.Children(slot))
            {
                string name = property.Text(Property.Name) ?? throw Damaged(path, "a property has no name");
                if (!properties.TryAdd(name, value(property)))
                {
                    throw Damaged(path, $"two properties are named '{name}'");
                }
            }
        }

        if (bag is not null)
        {
            Add(Bag.Integers, p => p.Int64(Property.Value));
            Add(Bag.Floats, p => p.Single(Property.Value));
            Add(Bag.Strings, p => p.Text(Property.Value) ?? "");
        }

        return properties;
    }

    private static void RequireUnique(string path, IEnumerable<string> names, string kind)
    {
        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach (string name in names)
        {
            if (!seen.Add(name))
            {
                throw Damaged(path, $"two {kind} are named '{name}'");
            }
        }
    }

    private static ModelFormatException Damaged(string path, string what) => new($"The checkpoint '{path}' is damaged: {what}.");

    /// <summary>Where tensors come from: the file's own bytes and the data file beside it.</summary>
    private sealed record TensorSource(string Path, byte[] Bytes, MappedFile? Data)
    {
        internal string Text(CheckpointTable table, int slot, string what) => table.Text(slot) ?? throw Damaged(Path, $"{what} has no name");

        internal CheckpointParameter Parameter(CheckpointTable tensor, bool isNominal)
        {
            string name = Text(tensor, TensorFields.Name, "a tensor");
            int code = tensor.Int32(TensorFields.DataType);
            DataType type = (DataType)code;
            if (!Enum.IsDefined(type) || type is DataType.Undefined or DataType.String)
            {
                throw Damaged(Path, $"tensor '{name}' has the data type {code}, which is no number's");
            }

            if (isNominal)
            {
                return new CheckpointParameter(name, type, null);
            }

            long[] dims = tensor.Int64s(TensorFields.Dims);
            string shape = $"{type.OnnxName()}[{string.Join(", ", dims)}]";
            if (!TensorSize.TryCompute(type, dims, out _, out long length))
            {
                throw Damaged(Path, $"tensor '{name}' has the shape [{string.Join(", ", dims)}]");
            }

            long offset = tensor.Int64(TensorFields.ExternalOffset, Inline);
            (int start, int count) = tensor.Bytes(TensorFields.RawData);
            if (Data is null || offset == Inline)
            {
                return count == length
                    ? CheckpointParameter.Of(name, new DenseTensor(type, dims, Bytes.AsMemory(start, count)))
                    : throw Damaged(Path, $"tensor '{name}', {shape}, has {count} bytes; {length} are expected");
            }

            return offset >= 0 && offset <= Data.Length - length
                ? CheckpointParameter.Of(name, new ExternalTensor(Data, offset, type, dims))
                : throw Damaged(Path, $"tensor '{name}', {shape}, lies at byte {offset} of '{Data.Path}', which has {Data.Length} bytes");
        }
    }
}
