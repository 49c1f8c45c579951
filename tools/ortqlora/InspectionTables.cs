using System.Globalization;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Sensitivity;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Inspection;
using Spectre.Console;

namespace OrtQLoRA.Cli;

/// <summary>What <c>inspect</c> shows.</summary>
internal static class InspectionTables
{
    /// <summary>Every layer: kind, sizes, whether it is adapted, what int8 costs its weight.</summary>
    internal static void WriteModules(CommandContext context, LinearSites sites, HashSet<string> selected, Dictionary<string, QuantizedLayer> errors)
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
                new Text(errors.TryGetValue(module.Path, out QuantizedLayer? layer) ? Percent(layer.Error.RelativeFrobenius) : ""));
        }

        context.Tables.Write(table);
    }

    /// <summary>What the chosen method would train.</summary>
    internal static void WriteMethod(CommandContext context, MethodCost method, long all)
    {
        string frozen = method.Frozen > 0 ? $", beside {Number(method.Frozen)} frozen" : "";
        context.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{all:N0} parameters; {method.Name} on {method.Modules} modules trains {method.Trained:N0} ({Share(method, all)}){frozen}."));
    }

    /// <summary>What each method would train with the same settings, as far as they mean something to it.</summary>
    internal static void WriteMethods(CommandContext context, LinearSites sites, TrainingOptions options, long all)
    {
        Table table = new Table().AddColumns("Method", "Modules", "Trained", "Share", "Frozen beside", "Memory", "Merges");
        List<string> refused = [];
        foreach (string name in MethodCosts.Names)
        {
            try
            {
                MethodCost cost = MethodCosts.Of(sites, options, name);
                table.AddRow(
                    new Text(name),
                    new Text(Number(cost.Modules)),
                    new Text(Number(cost.Trained)),
                    new Text(Share(cost, all)),
                    new Text(cost.Frozen > 0 ? Number(cost.Frozen) : ""),
                    new Text(string.Create(CultureInfo.InvariantCulture, $"{cost.Bytes / 1e6:F2} MB")),
                    new Text(cost.CanMerge ? "yes" : "no"));
            }
            catch (ConfigurationException e)
            {
                refused.Add($"{name}: {FirstSentence(e.Faults[0])}");
            }
        }

        context.Tables.Write(table);
        context.Output.WriteLine("Memory: what a method adds and trains, with gradients and the optimizer's states, beside the base and the activations.");
        foreach (string reason in refused)
        {
            context.Output.WriteLine($"Not counted: {reason}");
        }
    }

    /// <summary>Size in int8, and the layers that lose most.</summary>
    internal static void WriteQuantization(CommandContext context, Dictionary<string, QuantizedLayer> errors)
    {
        if (errors.Count > 0)
        {
            QuantizationReport report = new("eetq", [.. errors.Values]);
            context.Output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"int8 takes {report.QuantizedBytes / 1e6:F1} MB instead of {report.OriginalBytes / 1e6:F1} MB; largest errors: {string.Join(", ", report.Worst(3).Select(l => $"{l.ModulePath} {Percent(l.Error.RelativeFrobenius)}"))}."));
        }
    }

    /// <summary>What int8 costs each layer, and what is suggested for it.</summary>
    internal static void WriteAdvice(CommandContext context, QuantizationAdvice advice)
    {
        bool hasOutputs = advice.Layers.Any(l => l.OutputError is not null);
        Table table = new Table().AddColumns("Layer", "Weight error", "Worst output", "Output error", "Suggested");
        foreach (LayerSensitivity layer in advice.Layers)
        {
            string lost = layer.Weight.LostColumns > 0 ? $", {layer.Weight.LostColumns} lost" : "";
            table.AddRow(
                new Text(layer.ModulePath),
                new Text(Percent(layer.Weight.RelativeFrobenius)),
                new Text(Percent(layer.Weight.WorstColumnRelative) + lost),
                new Text(layer.OutputError is double error ? Percent(error) : ""),
                new Text(advice.Kept.Contains(layer.ModulePath) ? "leave as it is"
                    : advice.Ranks.TryGetValue(layer.ModulePath, out int rank) ? $"int8, rank {rank}"
                    : layer.RankGains.Count > 0 ? $"int8, rank {advice.Rank}"
                    : "int8"));
        }

        context.Tables.Write(table);
        string measure = hasOutputs ? "the outputs of the layers over the data" : "the weights; with --data the layers' outputs are compared";
        context.Output.WriteLine($"Errors are relative, in the Frobenius norm, of {measure}.");
        context.Output.WriteLine(advice.Kept.Count == 0
            ? $"No layer is above {Percent(advice.ErrorLimit)}: all can be quantized."
            : string.Create(CultureInfo.InvariantCulture, $"{advice.Kept.Count} layers are above {Percent(advice.ErrorLimit)} or lose output features; left as they are they take {advice.BytesOfKept / 1e6:F1} MB more than in int8."));
        if (double.IsFinite(advice.RecoveredByOneRank))
        {
            string several = advice.Ranks.Count > 0 ? $", the suggested ones {advice.RecoveredByRanks.ToString("P1", CultureInfo.InvariantCulture)} with as many parameters" : "; other ranks would not do clearly better";
            context.Output.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"Adapters of rank {advice.Rank} can make up for {advice.RecoveredByOneRank:P1} of the squared error at best{several}."));
        }
    }

    private static string Share(MethodCost cost, long all) => Percent(cost.Trained / (double)Math.Max(1, all + cost.Trained - cost.TrainedOfBase));

    private static string FirstSentence(string text) => text.IndexOf(". ", StringComparison.Ordinal) is > 0 and int end ? text[..(end + 1)] : text;

    private static string Percent(double share) => share.ToString("P2", CultureInfo.InvariantCulture);

    private static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);
}
