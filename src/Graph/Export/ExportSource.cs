using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export.Runs;
using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Export;

/// <summary>What is exported: a base model, an adapter, and how the base was kept while the adapter was trained.</summary>
public sealed class ExportSource
{
    /// <summary>The base model's file.</summary>
    public required string Model { get; init; }

    /// <summary>The adapter: a PEFT folder, a safetensors file or an <c>.onnx_adapter</c> file.</summary>
    public required string Adapter { get; init; }

    /// <summary>Further adapters of the same base, for <see cref="ExportKind.Adapter"/>: one base model serves them all.</summary>
    public IReadOnlyList<string> FurtherAdapters { get; init; } = [];

    /// <summary>
    /// Format of the base in training: exports build on the dequantized weights, the function that was trained. Null builds
    /// on the original weights.
    /// </summary>
    public IWeightFormat? BaseFormat { get; init; }

    /// <summary>Linear layers that were not quantized in training; null for none.</summary>
    public ModuleSelector? KeptModules { get; init; }

    /// <summary>Checkpoint that supplied the model's weights in training; null for the model's own.</summary>
    public string? BaseWeights { get; init; }

    /// <summary>Whether <see cref="Model"/> is a merged model, from which <see cref="ExportKind.Merged"/> takes the adapter out again.</summary>
    public bool IsUnmerge { get; init; }

    /// <summary>Hash of the base weights that the adapter was trained on (<see cref="WeightHash"/>); null if not known.</summary>
    public string? BaseHash { get; init; }

    /// <summary>A run's result on its base.</summary>
    /// <param name="runFolder">The run.</param>
    /// <param name="model">The base model, if it lies elsewhere than in training; null for the place it had then.</param>
    /// <param name="ontoOriginal">Whether to build on the original weights even if the run quantized them.</param>
    /// <exception cref="ConfigurationException">The folder holds no run, or its model is gone.</exception>
    public static ExportSource OfRun(string runFolder, string? model = null, bool ontoOriginal = false)
    {
        BaseModelRecord record = BaseModelRecord.Read(runFolder);
        string path = model ?? record.Model;
        if (!File.Exists(path))
        {
            throw new ConfigurationException($"The run's base model '{path}' is gone; put it back, or name the place it has now with --model.");
        }

        bool isQuantized = !ontoOriginal && record.Quantization != BaseModelRecord.NotQuantized;
        return new ExportSource
        {
            Model = path,
            Adapter = Path.Combine(runFolder, "adapter"),
            BaseFormat = isQuantized ? WeightFormatRegistry.Default.Get(record.Quantization) : null,
            KeptModules = ModuleSelector.FromJson(BaseModelRecord.FileName, record.KeptModules),
            BaseWeights = record.BaseWeights,
            BaseHash = record.Hash,
        };
    }
}
