using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Trainer;

/// <summary>Turns the result of a run into models for servers.</summary>
public static class RunExporter
{
    /// <summary>Writes a run's result in any form.</summary>
    /// <param name="run">The run.</param>
    /// <param name="options">Form and place.</param>
    /// <param name="ontoOriginal">
    /// Whether to build on the original weights even if the run quantized them; by default on the dequantized ones, which
    /// is the function that was trained.
    /// </param>
    /// <returns>What was written, and what to know about it.</returns>
    /// <exception cref="ConfigurationException">The run's model or adapter is gone or does not fit, or the model's weights are not those that were trained on.</exception>
    public static ExportResult Export(RunFolder run, ExportOptions options, bool ontoOriginal = false)
    {
        ArgumentNullException.ThrowIfNull(run);
        return ModelExporter.Export(ExportSource.OfRun(run.Path, ontoOriginal: ontoOriginal), options);
    }

    /// <summary>Writes the base model with the adapter merged into its weights.</summary>
    /// <param name="run">The run.</param>
    /// <param name="output">The model to write.</param>
    /// <param name="ontoOriginal">Whether to merge onto the original weights even if the run quantized them.</param>
    /// <exception cref="ConfigurationException">The run's model or adapter is gone or does not fit.</exception>
    public static void ExportMerged(RunFolder run, string output, bool ontoOriginal = false) =>
        Export(run, new ExportOptions { Kind = ExportKind.Merged, Output = output }, ontoOriginal);

    /// <summary>Writes a model with an adapter merged into its weights.</summary>
    /// <param name="modelPath">The base model.</param>
    /// <param name="adapterPath">The adapter: a PEFT folder, or a file of changed weights.</param>
    /// <param name="output">The model to write.</param>
    /// <param name="quantization">How the base was kept in training.</param>
    /// <exception cref="ConfigurationException">The adapter does not fit, or the output is the model itself.</exception>
    public static void ExportMerged(string modelPath, string adapterPath, string output, QuantizationKind quantization) => ModelExporter.Export(
        new ExportSource
        {
            Model = modelPath,
            Adapter = adapterPath,
            BaseFormat = quantization == QuantizationKind.None ? null : WeightFormatRegistry.Default.Get(OptionText.Name(quantization)),
        },
        new ExportOptions { Kind = ExportKind.Merged, Output = output });
}
