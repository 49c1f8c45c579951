using System.CommandLine;
using System.Globalization;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Configuration;
using Spectre.Console;

namespace OrtQLoRA.Cli.Commands;

/// <summary>
/// <c>inspect</c>: what a model is made of, what an adapter would train, how well int8 would keep its weights, and how much
/// memory training would take.
/// </summary>
internal static class InspectCommand
{
    internal static Command Create(CommandContext context)
    {
        Option<string> model = new("--model") { Description = "ONNX model.", HelpName = "FILE", Required = true };
        Option<string> targets = new("--targets") { Description = "Modules to adapt; all-linear by default.", HelpName = "NAMES", DefaultValueFactory = _ => ModuleSelector.AllLinearWord };
        Option<int> rank = new("--rank") { Description = "LoRA rank for the estimate.", HelpName = "R", DefaultValueFactory = _ => 8 };
        Option<string> quant = new("--quant") { Description = "Show the error of quantizing: eetq or none.", HelpName = "eetq|none", DefaultValueFactory = _ => "eetq" };
        quant.AcceptOnlyFromAmong("eetq", "none");
        Option<int> batch = new("--batch") { Description = "Rows of a micro-batch for the estimate.", HelpName = "N", DefaultValueFactory = _ => 8 };
        Option<int> length = new("--length") { Description = "Tokens of a row for the estimate.", HelpName = "N", DefaultValueFactory = _ => 256 };
        Command command = new("inspect", "Show a model's modules, trainable share, quantization error and memory estimate.")
        {
            model, targets, rank, quant, batch, length,
        };
        command.SetAction(result => Run(
            context,
            result.GetValue(model)!,
            OptionText.Modules(result.GetValue(targets)!),
            result.GetValue(rank),
            result.GetValue(quant) == "eetq",
            (long)result.GetValue(batch) * result.GetValue(length)));
        return command;
    }

    private static int Run(CommandContext context, string path, ModuleSelector targets, int rank, bool quantize, long tokens)
    {
        using OnnxModel model = OnnxModelReader.Read(path);
        LinearSites sites = LinearFinder.Find(model);
        HashSet<string> selected = [.. new TargetModuleMatcher(new TargetOptions { TargetModules = targets }).Select(sites).Select(m => m.Path)];
        context.Output.WriteLine(
            $"{path}: opset {model.Opset}, {model.Graph.AllNodes().Count()} nodes, producer {model.ProducerName ?? "unknown"}");
        context.Output.WriteLine($"  inputs  {string.Join(", ", model.Graph.RequiredInputs)}");
        context.Output.WriteLine($"  outputs {string.Join(", ", model.Graph.Outputs)}");

        Dictionary<string, QuantizedLayer> errors = quantize ? Quantize(sites) : [];
        WriteModules(context, sites, selected, errors);
        WriteParameters(context, model, sites, selected, rank);
        WriteQuantization(context, errors);
        MemoryEstimate estimate = MemoryEstimate.Of(model, sites, selected, rank, tokens, errors.Values);
        context.Output.WriteLine(estimate.Describe());
        return 0;
    }

    private static void WriteModules(CommandContext context, LinearSites sites, HashSet<string> selected, Dictionary<string, QuantizedLayer> errors)
    {
        Table table = new Table().AddColumns("Module", "Kind", "In", "Out", "Type", "Adapted", "int8 error");
        foreach (LinearModule module in sites.Modules)
        {
            table.AddRow(
                new Text(module.Path),
                new Text(module.IsOutputHead ? "output head" : module.Kind.ToString().ToLowerInvariant()),
                new Text(Number(module.InFeatures)),
                new Text(Number(module.OutFeatures)),
                new Text(module.Weight.ElementType.OnnxName()),
                new Text(selected.Contains(module.Path) ? "yes" : ""),
                new Text(errors.TryGetValue(module.Path, out QuantizedLayer? layer) ? Error(layer) : ""));
        }

        context.Tables.Write(table);
    }

    private static void WriteParameters(CommandContext context, OnnxModel model, LinearSites sites, HashSet<string> selected, int rank)
    {
        long all = model.Graph.Initializers.Where(i => i.Initializer!.ElementType.IsFloatingPoint()).Sum(i => i.Initializer!.ElementCount());
        long trainable = sites.Modules.Where(m => selected.Contains(m.Path)).Sum(m => rank * (m.InFeatures + m.OutFeatures));
        context.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{all:N0} parameters; LoRA of rank {rank} on {selected.Count} modules trains {trainable:N0} ({100.0 * trainable / Math.Max(1, all + trainable):F2} %)."));
    }

    private static void WriteQuantization(CommandContext context, Dictionary<string, QuantizedLayer> errors)
    {
        if (errors.Count > 0)
        {
            QuantizationReport report = new("eetq", [.. errors.Values]);
            context.Output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"int8 takes {report.QuantizedBytes / 1e6:F1} MB instead of {report.OriginalBytes / 1e6:F1} MB; largest errors: {string.Join(", ", report.Worst(3).Select(l => $"{l.ModulePath} {Error(l)}"))}."));
        }
    }

    private static Dictionary<string, QuantizedLayer> Quantize(LinearSites sites)
    {
        IWeightFormat format = WeightFormatRegistry.Default.Get("eetq");
        return sites.Modules.Where(WeightQuantizationPass.IsQuantizedByDefault).ToDictionary(m => m.Path, m => Measure(format, m));
    }

    private static QuantizedLayer Measure(IWeightFormat format, LinearModule module)
    {
        WeightMatrix matrix = WeightMatrix.Of(module.Sites[0]);
        IQuantizedWeight quantized = format.Quantize(matrix);
        return new QuantizedLayer(
            module.Path, matrix.Name, module.InFeatures, module.OutFeatures, matrix.ByteLength, quantized.ByteLength, quantized.Error);
    }

    private static string Error(QuantizedLayer layer) => layer.Error.RelativeFrobenius.ToString("P2", CultureInfo.InvariantCulture);

    private static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);
}
