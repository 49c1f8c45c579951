using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Onnx;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Checkpoints;
using OrtQLoRA.Graph.Export.Eetq;
using OrtQLoRA.Graph.Export.Layout;
using OrtQLoRA.Graph.Export.OnnxAdapter;
using OrtQLoRA.Graph.Export.Peft;
using OrtQLoRA.Graph.Export.Triton;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Eetq;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// Writes a base model with an adapter in the form that a server reads. All forms are made from the original model's file, of
/// which no more than one weight at a time is held in memory.
/// </summary>
public static class ModelExporter
{
    private const string DecoderIds = "decoder_input_ids";

    /// <summary>Exports.</summary>
    /// <param name="source">Model and adapter.</param>
    /// <param name="options">Form and place.</param>
    /// <returns>What was written, and what to know about it.</returns>
    /// <exception cref="ConfigurationException">Options contradict each other, the adapter does not fit the model, or the model is not the one that was trained.</exception>
    /// <exception cref="ModelFormatException">A file is absent or malformed, or a weight cannot be quantized.</exception>
    /// <exception cref="FileWriteException">A file cannot be written.</exception>
    public static ExportResult Export(ExportSource source, ExportOptions options)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(options);
        Validate(options);
        using OnnxModel model = BaseModel.Read(source.Model, source.BaseWeights);
        OriginalFiles original = OriginalFiles.Of(source.Model, model);
        RequireTrainedBase(model, source);
        if (source.FurtherAdapters.Count > 0 && (options.Kind != ExportKind.Adapter || options.Output.EndsWith(OnnxAdapterFile.Extension, StringComparison.OrdinalIgnoreCase)))
        {
            throw new ConfigurationException(
                $"{source.FurtherAdapters.Count + 1} adapters are given: --to adapter writes them beside one base, into a folder (--output). For other forms make one of them first (ortqlora adapter merge).");
        }

        using AdapterWeights adapter = PeftAdapterFolder.Read(source.Adapter);
        Prepare(model, options);
        ExportResult result = options.Kind switch
        {
            ExportKind.Merged => ExportMerged(model, adapter, source, options, original),
            ExportKind.Int8 => ExportInt8(model, adapter, source, options, original),
            ExportKind.Adapter => ExportAdapters(model, adapter, source, options, original),
            ExportKind.Peft => ExportPeft(model, adapter, options),
            ExportKind.Eetq => ExportEetq(model, adapter, source, options),
            _ => throw new ArgumentOutOfRangeException(nameof(options), options.Kind, "Unknown kind of export."),
        };
        return adapter.Config?.UnknownKeysWarning(source.Adapter) is { } warning ? result with { Warnings = [warning, .. result.Warnings] } : result;
    }

    private static void Validate(ExportOptions options)
    {
        List<string> faults = [];
        if (options.Form is not null && options.Kind is not (ExportKind.Int8 or ExportKind.Adapter))
        {
            faults.Add($"A format of int8 weights ({options.Form}) belongs to --to int8 and --to adapter, not to {options.Kind}.");
        }

        if (options.IsTriton && options.Kind is not (ExportKind.Merged or ExportKind.Int8))
        {
            faults.Add($"Triton serves whole ONNX models: --target triton belongs to --to merged and --to int8, not to {options.Kind}.");
        }

        if (options.Kind == ExportKind.Eetq && options.Precision is not (null or DataType.Float16))
        {
            faults.Add($"EETQ checkpoints hold fp16 beside int8; --dtype {options.Precision} cannot be had.");
        }

        if (options.Precision is not (null or DataType.Float or DataType.Float16 or DataType.BFloat16))
        {
            faults.Add($"Weights are stored as fp32, fp16 or bf16, not {options.Precision}.");
        }

        if (options.MaxBatchSize < 0)
        {
            faults.Add($"--max-batch-size is {options.MaxBatchSize}; 0 or more is expected.");
        }

        if (options.ShardBytes < 1)
        {
            faults.Add($"--shard-size is {options.ShardBytes}; 1 or more bytes are expected.");
        }

        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }
    }

    private static void RequireTrainedBase(OnnxModel model, ExportSource source)
    {
        if (source.BaseHash is { } expected && WeightHash.Of(model) is { } actual && actual != expected)
        {
            throw new ConfigurationException(
                $"'{source.Model}' is not the model that was trained: its weights have the hash {actual}, those of the run's base {expected}. Name the model of the run with --model, or pass --model and --adapter without --run to put the adapter onto another model.");
        }
    }

    private static void Prepare(OnnxModel model, ExportOptions options)
    {
        if (options.Precision == DataType.Float && options.Kind is not ExportKind.Peft)
        {
            // Before the merge, so that merged weights are not rounded on the way.
            WeightPrecision.Apply(model, DataType.Float, new HashSet<string>());
        }

        if (options.Kind is not (ExportKind.Merged or ExportKind.Peft) && model.Functions.Count > 0)
        {
            // Weights inside functions get another form, which only a call that stands for itself can have.
            new FunctionInliningPass().Run(model);
        }

        if (options.Kind is not (ExportKind.Merged or ExportKind.Peft))
        {
            new SliceBoundsPass().Run(model);
        }
    }

    private static ExportResult ExportMerged(OnnxModel model, AdapterWeights adapter, ExportSource source, ExportOptions options, OriginalFiles original)
    {
        int expanded = Merge(model, adapter, source);
        ExportResult result = Finish(model, source, options, original, null);
        return expanded == 0 ? result : result with
        {
            Warnings = [.. result.Warnings, $"{expanded} adapted modules hold integers in the base model and are floats now, so that nothing is rounded twice. Export with --to int8 for integers, or with --to adapter to keep the base as it is."],
        };
    }

    // How many modules became floats.
    private static int Merge(OnnxModel model, AdapterWeights adapter, ExportSource source)
    {
        int before = DenseWeights.Quantized(LinearFinder.Find(model)).Count();
        MergedModelExporter.Merge(model, adapter, new MergeOptions { Format = source.BaseFormat, KeptModules = source.KeptModules, IsUnmerge = source.IsUnmerge });
        return before - DenseWeights.Quantized(LinearFinder.Find(model)).Count();
    }

    private static ExportResult ExportInt8(OnnxModel model, AdapterWeights adapter, ExportSource source, ExportOptions options, OriginalFiles original)
    {
        MergedModelExporter.Merge(model, adapter, new MergeOptions { Format = source.BaseFormat, KeptModules = source.KeptModules });
        QuantizationReport report = Quantize(model, QuantizedModules.Beside(adapter.RequireConfig().Config, source.KeptModules), options.Form ?? QuantizedForm.Qdq);
        return Finish(model, source, options, original, report);
    }

    private static QuantizationReport Quantize(OnnxModel model, Func<LinearModule, bool> isQuantized, QuantizedForm form)
    {
        InferredTypes.Fill(model);
        WeightQuantizationPass pass = new(new EetqInt8Format(), isQuantized) { Form = form, IsStreamed = true };
        pass.Run(model);
        QuantizationReport report = new("eetq", [.. pass.Report.Layers, .. FusedWeightQuantization.Run(model)]);
        return report.Layers.Count > 0
            ? report
            : throw new ConfigurationException("The model has no linear layer with a float weight that could be quantized. Export with --to merged.");
    }

    private static ExportResult Finish(
        OnnxModel model, ExportSource source, ExportOptions options, OriginalFiles original, QuantizationReport? report, params IEnumerable<string> keepsType)
    {
        List<string> warnings = [];
        if (options.Precision is { } precision and not DataType.Float)
        {
            WeightPrecision.Apply(model, precision, keepsType.ToHashSet(StringComparer.Ordinal));
        }

        if (report is not null && options.Form == QuantizedForm.MatMulInt8)
        {
            warnings.Add("The model needs OrtQLoRA's operator library: register it with SessionOptions.RegisterCustomOpLibrary (docs/native-ops.md).");
        }

        string path;
        if (options.IsTriton)
        {
            string name = TritonRepository.NameOf(source.Model);
            path = TritonRepository.ModelPath(options.Output, name);
            InferredTypes.Fill(model);
            TritonRepository.WriteConfig(model, options.Output, name, options.MaxBatchSize, options.Form == QuantizedForm.MatMulInt8);
        }
        else if (options.Output.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase))
        {
            path = options.Output;
        }
        else
        {
            path = Path.Combine(options.Output, Path.GetFileName(source.Model));
        }

        ModelFileWriter.Write(model, path, original, options.ExternalData, options.ShardBytes);
        if (path != options.Output && !options.IsTriton)
        {
            OutputFolder.CopyCompanions(source.Model, options.Output);
        }
        else if (!options.IsTriton && model.Graph.Inputs.Any(i => i.Name == DecoderIds) && OutputFolder.CopyConfigBeside(source.Model, path))
        {
            warnings.Add($"config.json was copied beside '{path}': it says with which token the decoder starts.");
        }

        return new ExportResult { Output = options.Output, Model = path, Quantization = report, Warnings = warnings };
    }

    private static ExportResult ExportAdapters(OnnxModel model, AdapterWeights first, ExportSource source, ExportOptions options, OriginalFiles original)
    {
        List<AdapterWeights> adapters = [first];
        try
        {
            adapters.AddRange(source.FurtherAdapters.Select(a => PeftAdapterFolder.Read(a)));
            return ExportAdapters(model, adapters, source, options, original);
        }
        finally
        {
            adapters.Skip(1).ToList().ForEach(a => a.Dispose());
        }
    }

    private static ExportResult ExportAdapters(OnnxModel model, IReadOnlyList<AdapterWeights> adapters, ExportSource source, ExportOptions options, OriginalFiles original)
    {
        // A module that one of them trains whole was in floats beside that one.
        Func<LinearModule, bool>[] besides = [.. adapters.Select(a => QuantizedModules.Beside(a.RequireConfig().Config, source.KeptModules))];
        bool IsQuantized(LinearModule module) => besides.All(b => b(module));
        MergedModelExporter.PrepareBase(model, source.BaseFormat, IsQuantized);
        InferredTypes.Fill(model);

        // The branches are products with constants too: what is quantized is settled before they are there.
        HashSet<string> quantized = [.. LinearFinder.Find(model).Modules.Where(IsQuantized).Select(m => m.Weight.Name)];
        IReadOnlyList<IReadOnlyDictionary<string, ITensor>> parameters = OnnxAdapterExporter.Split(model, adapters, options.Precision ?? DataType.Float);
        QuantizationReport? report = options.Form is { } form ? Quantize(model, m => WeightQuantizationPass.CanQuantize(m) && quantized.Contains(m.Weight.Name), form) : null;
        bool isFile = options.Output.EndsWith(OnnxAdapterFile.Extension, StringComparison.OrdinalIgnoreCase);
        IReadOnlyList<string> paths = isFile ? [options.Output] : [.. AdapterNames([source.Adapter, .. source.FurtherAdapters]).Select(n => Path.Combine(options.Output, n + OnnxAdapterFile.Extension))];
        ExportOptions modelOptions = new()
        {
            Kind = options.Kind,
            Output = isFile ? Path.ChangeExtension(options.Output, ".onnx") : options.Output,
            Form = options.Form,
            Precision = options.Precision,
            ExternalData = options.ExternalData,
            ShardBytes = options.ShardBytes,
        };
        ExportResult result = Finish(model, source, modelOptions, original, report, parameters.SelectMany(p => p.Keys));
        foreach ((string path, IReadOnlyDictionary<string, ITensor> tensors) in paths.Zip(parameters))
        {
            OnnxAdapterFile.Write(path, [.. tensors]);
        }

        return new ExportResult
        {
            Output = options.Output,
            Model = result.Model,
            OnnxAdapters = paths,
            Quantization = report,
            Warnings = result.Warnings,
        };
    }

    // A run's adapter lies in a folder of its own under the run, which bears the name.
    private static IReadOnlyList<string> AdapterNames(IReadOnlyList<string> paths)
    {
        if (paths.Count == 1)
        {
            return ["adapter"];
        }

        List<string> names = [];
        foreach (string path in paths)
        {
            string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
            string name = Path.GetFileName(full) is "adapter" or "best" && Path.GetFileName(Path.GetDirectoryName(full)) is { Length: > 0 } run ? run
                : Directory.Exists(full) ? Path.GetFileName(full) : Path.GetFileNameWithoutExtension(full);
            names.Add(!names.Contains(name) ? name : throw new ConfigurationException($"Two adapters are called '{name}', and so would be their files. Rename the folder of one."));
        }

        return names;
    }

    private static ExportResult ExportPeft(OnnxModel model, AdapterWeights adapter, ExportOptions options) =>
        new() { Output = options.Output, Warnings = PeftExporter.Write(model, adapter, options.Output, options.Precision) };

    private static ExportResult ExportEetq(OnnxModel model, AdapterWeights adapter, ExportSource source, ExportOptions options)
    {
        MergedModelExporter.Merge(model, adapter, new MergeOptions { Format = source.BaseFormat, KeptModules = source.KeptModules });
        DenseWeights.Expand(model, [.. DenseWeights.Quantized(LinearFinder.Find(model))]);
        (QuantizationReport report, IReadOnlyList<string> warnings) = EetqCheckpointExporter.Write(model, source.Model, options.Output);
        return new ExportResult { Output = options.Output, Quantization = report, Warnings = warnings };
    }
}
