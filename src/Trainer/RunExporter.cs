using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Trainer;

/// <summary>Turns the result of a run into models for servers.</summary>
public static class RunExporter
{
    /// <summary>Models above this size get their weights in a file beside them; one message ends at 2 GB.</summary>
    private const long OneFileLimit = 1L << 30;

    /// <summary>Writes the base model with the adapter merged into its weights.</summary>
    /// <param name="run">The run.</param>
    /// <param name="output">The model to write.</param>
    /// <param name="ontoOriginal">
    /// Whether to merge onto the original weights even if the run quantized them; by default onto the dequantized ones, which
    /// is the function that was trained.
    /// </param>
    /// <exception cref="ConfigurationException">The run's model or adapter is gone or does not fit.</exception>
    public static void ExportMerged(RunFolder run, string output, bool ontoOriginal = false)
    {
        TrainingOptions options = run.ReadOptions();
        if (!File.Exists(options.Model))
        {
            throw new ConfigurationException($"The run's base model '{options.Model}' is gone; put it back, or mend 'model' in '{run.ConfigFile}'.");
        }

        ExportMerged(options.Model, run.AdapterFolder, output, ontoOriginal ? QuantizationKind.None : options.Quantization);
    }

    /// <summary>Writes a model with an adapter merged into its weights.</summary>
    /// <param name="modelPath">The base model.</param>
    /// <param name="adapterPath">The adapter: a PEFT folder, or a file of changed weights.</param>
    /// <param name="output">The model to write.</param>
    /// <param name="quantization">How the base was kept in training.</param>
    /// <exception cref="ConfigurationException">The adapter does not fit, or the output is the model itself.</exception>
    public static void ExportMerged(string modelPath, string adapterPath, string output, QuantizationKind quantization)
    {
        if (Path.GetFullPath(modelPath) == Path.GetFullPath(output))
        {
            throw new ConfigurationException($"The output is the base model itself, '{modelPath}'; write to another file.");
        }

        using OnnxModel model = OnnxModelReader.Read(modelPath);
        using AdapterWeights adapter = PeftAdapterFolder.Read(adapterPath);
        MergedModelExporter.Merge(model, adapter, new MergeOptions
        {
            Format = quantization == QuantizationKind.None ? null : WeightFormatRegistry.Default.Get(OptionText.Name(quantization)),
        });
        long bytes = model.Graph.Initializers.Sum(i => i.Initializer!.ByteLength);
        OnnxModelWriter.Write(model, output, bytes > OneFileLimit ? new ExternalDataOptions() : null);
    }
}
