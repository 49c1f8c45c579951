using System.Globalization;
using System.Text;
using OrtQLoRA.Graph.Export.Layout;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Export.Triton;

/// <summary>
/// A model repository of Triton Inference Server: <c>NAME/config.pbtxt</c> and <c>NAME/1/model.onnx</c>, served by its ONNX
/// Runtime backend.
/// </summary>
internal static class TritonRepository
{
    /// <summary>File name that the backend looks for in a version's folder.</summary>
    public const string ModelFile = "model.onnx";

    private const string OperatorLibrary = "libortqlora_ops.so";

    /// <summary>Where the model itself goes.</summary>
    public static string ModelPath(string repository, string name) => Path.Combine(repository, name, "1", ModelFile);

    /// <summary>The name that a base model gets in the repository.</summary>
    public static string NameOf(string modelPath)
    {
        string stem = Path.GetFileNameWithoutExtension(modelPath);
        return string.Concat(stem.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' ? c : '_'));
    }

    /// <summary>Writes the configuration beside the version's folder.</summary>
    /// <param name="model">The model as it was written.</param>
    /// <param name="repository">The repository.</param>
    /// <param name="name">The model's name there.</param>
    /// <param name="maxBatchSize">Largest batch to form of several requests; 0 for none.</param>
    /// <param name="needsOperators">Whether the model uses the native operators.</param>
    /// <exception cref="ConfigurationException">Triton cannot form batches of the model's inputs, or has no such type.</exception>
    public static void WriteConfig(OnnxModel model, string repository, string name, int maxBatchSize, bool needsOperators)
    {
        string text = Config(model, name, maxBatchSize, needsOperators);
        string folder = Path.Combine(repository, name);
        OutputFolder.Create(folder);
        AtomicFile.Write(Path.Combine(folder, "config.pbtxt"), stream => stream.Write(Encoding.UTF8.GetBytes(text)));
    }

    private static string Config(OnnxModel model, string name, int maxBatchSize, bool needsOperators)
    {
        List<string> faults = [];
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"name: \"{name}\"\nbackend: \"onnxruntime\"\nmax_batch_size: {maxBatchSize}\n");
        foreach (Value input in model.Graph.RequiredInputs)
        {
            Append(text, "input", input, maxBatchSize, faults);
        }

        foreach (Value output in model.Graph.Outputs)
        {
            Append(text, "output", output, maxBatchSize, faults);
        }

        if (maxBatchSize > 0)
        {
            text.Append("dynamic_batching { }\n");
        }

        if (needsOperators)
        {
            text.Append(CultureInfo.InvariantCulture, $"model_operations {{ op_library_filename: [ \"{OperatorLibrary}\" ] }}\n");
        }

        return faults.Count == 0 ? text.ToString() : throw new ConfigurationException(faults);
    }

    private static void Append(StringBuilder text, string section, Value value, int maxBatchSize, List<string> faults)
    {
        if (value.Type is not OnnxType.Tensor { Shape: { } shape } || TypeName(value.ElementType) is not { } type)
        {
            faults.Add($"The model's {section} '{value.Name}' is {value.Type?.ToString() ?? "of unknown type"}; Triton needs a tensor with a known number of axes and a type that it has.");
            return;
        }

        IEnumerable<Dimension> dims = shape;
        if (maxBatchSize > 0)
        {
            if (shape.Rank == 0 || shape[0].IsKnown)
            {
                faults.Add($"The model's {section} '{value.Name}' {shape} has no open first axis, so that Triton cannot form batches; export with --max-batch-size 0.");
                return;
            }

            dims = shape.Skip(1);
        }

        // Triton knows no scalars: a tensor of one element is reshaped on its way to the model.
        string sizes = string.Join(", ", dims.Select(d => d.Value ?? -1));
        string form = sizes.Length > 0 ? $"dims: [ {sizes} ]" : "dims: [ 1 ] reshape: { shape: [ ] }";
        text.Append(CultureInfo.InvariantCulture, $"{section} [ {{ name: \"{Escape(value.Name)}\" data_type: {type} {form} }} ]\n");
    }

    private static string Escape(string name) => name.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal);

    private static string? TypeName(DataType type) => type switch
    {
        DataType.Float => "TYPE_FP32",
        DataType.Float16 => "TYPE_FP16",
        DataType.BFloat16 => "TYPE_BF16",
        DataType.Double => "TYPE_FP64",
        DataType.Int8 => "TYPE_INT8",
        DataType.Int16 => "TYPE_INT16",
        DataType.Int32 => "TYPE_INT32",
        DataType.Int64 => "TYPE_INT64",
        DataType.UInt8 => "TYPE_UINT8",
        DataType.UInt16 => "TYPE_UINT16",
        DataType.UInt32 => "TYPE_UINT32",
        DataType.UInt64 => "TYPE_UINT64",
        DataType.Bool => "TYPE_BOOL",
        DataType.String => "TYPE_STRING",
        _ => null,
    };
}
