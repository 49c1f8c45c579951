using System.CommandLine;
using System.Globalization;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.Export.Layout;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.ExportTool;

/// <summary>The flags of exports, the same in <c>ortqlora export</c> and in <c>ortqlora-export</c>, and what both print.</summary>
internal sealed class ExportFlags
{
    private const string Triton = "triton";
    private const string Unmerge = "unmerge";
    private const string Trained = "trained";
    private const string Original = "original";

    private static readonly OrderedDictionary<string, ExportKind> Kinds = new()
    {
        ["merged"] = ExportKind.Merged,
        ["int8"] = ExportKind.Int8,
        ["adapter"] = ExportKind.Adapter,
        ["peft"] = ExportKind.Peft,
        ["eetq"] = ExportKind.Eetq,
        [Unmerge] = ExportKind.Merged,
        [Triton] = ExportKind.Merged,
    };

    private static readonly OrderedDictionary<string, QuantizedForm> Forms = new()
    {
        ["qdq"] = QuantizedForm.Qdq,
        ["matmulnbits"] = QuantizedForm.MatMulNBits,
        ["matmulint8"] = QuantizedForm.MatMulInt8,
    };

    private static readonly OrderedDictionary<string, DataType> Precisions = new()
    {
        ["fp32"] = DataType.Float,
        ["fp16"] = DataType.Float16,
        ["bf16"] = DataType.BFloat16,
    };

    private static readonly OrderedDictionary<string, ExternalDataMode> Modes = new()
    {
        ["keep"] = ExternalDataMode.Keep,
        ["embed"] = ExternalDataMode.Embed,
        ["single"] = ExternalDataMode.Single,
        ["sharded"] = ExternalDataMode.Sharded,
    };

    private readonly Option<string> _run = new("--run") { Description = "Run folder.", HelpName = "FOLDER" };
    private readonly Option<string> _model = new("--model") { Description = "Base model: with --adapter instead of --run, or the place that a run's model has now.", HelpName = "FILE" };
    private readonly Option<string[]> _adapter = new("--adapter") { Description = "Adapter: PEFT folder, safetensors file or .onnx_adapter file; several with --to adapter.", HelpName = "PATH", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string> _baseWeights = new("--base-weights") { Description = "Hugging Face checkpoint that supplied the base model's weights in training, with --adapter.", HelpName = "PATH" };
    private readonly Option<string> _quant = Choice("--quant", "How the base was kept in training, with --adapter.", [NotQuantized, .. WeightFormatRegistry.Default.Names], NotQuantized);
    private readonly Option<string[]> _quantExclude = new("--quant-exclude") { Description = "Linear layers that --quant left as they were, with --adapter: suffixes or one regular expression.", HelpName = "NAMES", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string> _onto = Choice("--onto", "Build on the weights as trained (dequantized), or on the original ones.", [Trained, Original], Trained);
    private readonly Option<string> _to = Choice("--to", "What to write.", [.. Kinds.Keys], "merged");
    private readonly Option<string?> _format = Choice<string?>("--format", "Operators of int8 weights: of --to int8 (qdq by default), or of the base of --to adapter (floats by default).", [.. Forms.Keys]);
    private readonly Option<string?> _dtype = Choice<string?>("--dtype", "How weights are stored; as in the base model by default.", [.. Precisions.Keys]);
    private readonly Option<string> _externalData = Choice("--external-data", "Where weights go: as in the base model, into the model file, into one data file, or into several.", [.. Modes.Keys], "keep");
    private readonly Option<string> _shardSize = new("--shard-size") { Description = "Size of a data file with --external-data sharded, for example 500MB or 2GB.", HelpName = "SIZE", DefaultValueFactory = _ => "2GB" };
    private readonly Option<string> _target = Choice("--target", "Plain files, or a model repository of Triton Inference Server (with --to merged or int8).", ["files", Triton], "files");
    private readonly Option<int> _maxBatchSize = new("--max-batch-size") { Description = "Largest batch that Triton may form of several requests; 0 for none.", HelpName = "N", DefaultValueFactory = _ => 0 };
    private readonly Option<string> _output = new("--output") { Description = "File or folder to write.", HelpName = "PATH", Required = true };

    private const string NotQuantized = Graph.Export.Runs.BaseModelRecord.NotQuantized;

    /// <summary>All flags, in the order of the help text.</summary>
    internal IEnumerable<Option> All =>
        [_run, _model, _adapter, _baseWeights, _quant, _quantExclude, _onto, _to, _format, _dtype, _externalData, _shardSize, _target, _maxBatchSize, _output];

    /// <summary>The run folder, if one is given.</summary>
    internal string? Run(ParseResult result) => result.GetValue(_run);

    /// <summary>Whether an adapter is taken out of a merged model.</summary>
    internal bool IsUnmerge(ParseResult result) => result.GetValue(_to) == Unmerge;

    /// <summary>What to export.</summary>
    /// <exception cref="ConfigurationException">Neither a run nor a model with an adapter is given, or both.</exception>
    internal ExportSource Source(ParseResult result)
    {
        bool original = result.GetValue(_onto) == Original;
        string? model = result.GetValue(_model);
        string[] adapters = result.GetValue(_adapter) ?? [];
        string? adapter = adapters.FirstOrDefault();
        string quant = result.GetValue(_quant)!;
        string? baseWeights = result.GetValue(_baseWeights);
        ModuleSelector? kept = result.GetValue(_quantExclude) is { Length: > 0 } texts ? ModuleSelector.Parse(string.Join('\n', texts).Trim()) : null;
        if (IsUnmerge(result))
        {
            return model is not null && adapters.Length < 2 && (adapter is null) != (Run(result) is null)
                ? new ExportSource { Model = model, Adapter = adapter ?? Path.Combine(Run(result)!, "adapter"), IsUnmerge = true }
                : throw new ConfigurationException("--to unmerge takes the merged model as --model, and one --adapter or --run for the adapter to subtract.");
        }

        switch (Run(result), model, adapter)
        {
            case (string run, _, null):
                return quant == NotQuantized && kept is null && baseWeights is null ? ExportSource.OfRun(run, model, original)
                    : throw new ConfigurationException("--quant, --quant-exclude and --base-weights belong to --adapter; a run knows how its base was kept.");
            case (null, string path, string adapterPath):
                return new ExportSource
                {
                    Model = path,
                    Adapter = adapterPath,
                    FurtherAdapters = adapters[1..],
                    KeptModules = kept,
                    BaseWeights = baseWeights,
                    BaseFormat = original || quant == NotQuantized ? null : WeightFormatRegistry.Default.Get(quant),
                };
            default:
                throw new ConfigurationException("Pass either --run with a run folder, or --model and --adapter.");
        }
    }

    /// <summary>Form and place.</summary>
    /// <exception cref="ConfigurationException">A flag has a wrong value.</exception>
    internal ExportOptions Options(ParseResult result) => new()
    {
        Kind = Kinds[result.GetValue(_to)!],
        Output = result.GetValue(_output)!,
        Form = result.GetValue(_format) is string form ? Forms[form] : null,
        Precision = result.GetValue(_dtype) is string dtype ? Precisions[dtype] : null,
        ExternalData = Modes[result.GetValue(_externalData)!],
        ShardBytes = Bytes("--shard-size", result.GetValue(_shardSize)!),
        IsTriton = result.GetValue(_to) == Triton || result.GetValue(_target) == Triton,
        MaxBatchSize = result.GetValue(_maxBatchSize),
    };

    /// <summary>Prints what was written: errors of int8 weights, remarks, the place.</summary>
    internal static void Print(ExportResult result, TextWriter output, TextWriter remarks)
    {
        if (result.Quantization is { } report)
        {
            int width = report.Layers.Max(l => l.ModulePath.Length);
            output.WriteLine($"{"layer".PadRight(width)}  {"in",7} {"out",7}  error of int8");
            foreach (QuantizedLayer layer in report.Layers)
            {
                output.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{layer.ModulePath.PadRight(width)}  {layer.InFeatures,7} {layer.OutFeatures,7}  {layer.Error.RelativeFrobenius:P3}{(layer.Error.LostColumns > 0 ? $", {layer.Error.LostColumns} output features lost" : "")}"));
            }

            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{report.Layers.Count} layers: {report.OriginalBytes / 1e6:F1} MB -> {report.QuantizedBytes / 1e6:F1} MB"));
        }

        foreach (string warning in result.Warnings)
        {
            remarks.WriteLine($"Note: {warning}");
        }

        output.WriteLine($"Wrote {result.Output}");
    }

    private static Option<string> Choice(string name, string description, string[] values, string defaultValue)
    {
        Option<string> option = Choice<string>(name, description, values);
        option.DefaultValueFactory = _ => defaultValue;
        return option;
    }

    private static Option<T> Choice<T>(string name, string description, string[] values)
    {
        Option<T> option = new(name) { Description = description, HelpName = string.Join('|', values) };
        option.AcceptOnlyFromAmong(values);
        return option;
    }

    private static long Bytes(string flag, string text)
    {
        string number = text.TrimEnd('B', 'b');
        long factor = number.Length == 0 ? 1 : char.ToUpperInvariant(number[^1]) switch
        {
            'K' => 1_000,
            'M' => 1_000_000,
            'G' => 1_000_000_000,
            _ => 1,
        };
        number = factor == 1 ? number : number[..^1];
        return double.TryParse(number.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && value * factor is >= 1 and < long.MaxValue
            ? (long)(value * factor)
            : throw new ConfigurationException($"{flag} is '{text}'; a number of bytes, or one with KB, MB or GB, is expected.");
    }
}
