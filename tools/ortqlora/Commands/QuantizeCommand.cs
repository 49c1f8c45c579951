using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Checkpoints;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>quantize</c>: writes a model whose linear layers hold int8 weights.</summary>
internal static class QuantizeCommand
{
    /// <summary>Models above this size get their weights in a file beside them; one message ends at 2 GB.</summary>
    private const long OneFileLimit = 1L << 30;

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    internal static Command Create(CommandContext context)
    {
        Option<string> model = new("--model") { Description = "ONNX model.", HelpName = "FILE", Required = true };
        Option<string> baseWeights = new("--base-weights") { Description = "Hugging Face checkpoint (safetensors) that supplies the model's weights, EETQ int8 included.", HelpName = "PATH" };
        Option<string> output = new("--output") { Description = "Model to write.", HelpName = "FILE", Required = true };
        Option<string> format = new("--quant") { Description = "Weight format.", HelpName = string.Join('|', WeightFormatRegistry.Default.Names), DefaultValueFactory = _ => "eetq" };
        Option<string> targets = new("--targets") { Description = "Modules to quantize; all-linear by default.", HelpName = "NAMES", DefaultValueFactory = _ => ModuleSelector.AllLinearWord };
        Option<string> report = new("--report") { Description = "Write each layer's error as JSON.", HelpName = "FILE" };
        Command command = new("quantize", "Write a model whose linear layers hold int8 weights.") { model, baseWeights, output, format, targets, report };
        command.SetAction(result => Run(
            context,
            result.GetValue(model)!,
            result.GetValue(baseWeights),
            result.GetValue(output)!,
            WeightFormatRegistry.Default.Get(result.GetValue(format)!),
            ModuleSelector.Parse(result.GetValue(targets)!),
            result.GetValue(report)));
        return command;
    }

    private static int Run(CommandContext context, string path, string? baseWeights, string output, IWeightFormat format, ModuleSelector targets, string? reportPath)
    {
        if (Path.GetFullPath(path) == Path.GetFullPath(output))
        {
            throw new ConfigurationException($"--output is the model itself, '{path}'; write to another file.");
        }

        using OnnxModel model = BaseModel.Read(path, baseWeights);
        TargetModuleMatcher matcher = new(new TargetOptions { TargetModules = targets });
        HashSet<string> selected = [.. matcher.Select(LinearFinder.Find(model)).Select(m => m.Path)];
        WeightQuantizationPass pass = new(format, m => selected.Contains(m.Path) && WeightQuantizationPass.CanQuantize(m)) { IsStreamed = true };
        if (!pass.Run(model))
        {
            throw new ConfigurationException($"None of the modules that '{targets}' names is a linear layer with a float weight; nothing to quantize.");
        }

        long bytes = model.Graph.Initializers.Sum(i => i.Initializer!.ByteLength);
        OnnxModelWriter.Write(model, output, bytes > OneFileLimit ? new ExternalDataOptions() : null);
        if (reportPath is not null)
        {
            AtomicFile.Write(reportPath, stream => JsonSerializer.Serialize(stream, pass.Report, Indented));
        }

        context.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Quantized {pass.Report.Layers.Count} layers to {format.Name}: {pass.Report.OriginalBytes / 1e6:F1} MB -> {pass.Report.QuantizedBytes / 1e6:F1} MB. Largest errors: {string.Join(", ", pass.Report.Worst(3).Select(l => $"{l.ModulePath} {l.Error.RelativeFrobenius:P2}"))}."));
        context.Output.WriteLine($"Wrote {output}");
        return 0;
    }
}
