using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Checkpoints;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Quantization.Sensitivity;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Inspection;

namespace OrtQLoRA.Cli.Commands;

/// <summary>
/// <c>inspect</c>: what a model is made of, what an adapter would train, how well int8 would keep its weights, and how much
/// memory training would take; with <c>--suggest</c> also what to leave in floats and which ranks to give.
/// </summary>
internal static class InspectCommand
{
    // What decides about the adapter, and what is needed to read data.
    private static readonly string[] Settings =
    [
        "model", "base-weights", "method", "rank", "alpha", "rslora", "targets", "exclude-modules", "layers-to-transform", "rank-pattern", "alpha-pattern",
        "bias", "modules-to-save", "optimizer", "batch", "data", "task", "loss-output", "tokenizer", "columns", "labels", "loss-on", "chat-template",
        "max-length", "truncation", "on-bad-line", "append-eos", "pad-id",
    ];

    internal static Command Create(CommandContext context)
    {
        Option<string?> quant = new("--quant") { Description = "Show the error of quantizing; eetq by default.", HelpName = OptionText.Choices<QuantizationKind>() };
        Option<int> length = new("--length") { Description = "Tokens of a row for the estimate.", HelpName = "N", DefaultValueFactory = _ => 256 };
        Option<bool> methods = new("--methods") { Description = "Compare what all adapter methods would train." };
        Option<bool> suggest = new("--suggest") { Description = "Suggest layers to leave unquantized, and ranks; with --data by the error of the layers' outputs." };
        Option<double?> maxError = new("--max-error") { Description = "With --suggest: relative error above which a layer stays as it is; outliers by default.", HelpName = "E" };
        Option<string?> output = new("--output") { Description = "With --suggest: also write the suggestion as a file for train --config.", HelpName = "FILE" };
        Command command = new("inspect", "Show a model's modules, what methods would train, quantization error and memory estimate.")
        {
            quant, length, methods, suggest, maxError, output,
        };
        TrainingOptionFlags flags = TrainingOptionFlags.Only(command, [.. Settings, .. MethodCosts.OptionNames]);
        command.SetAction(result =>
        {
            TrainingOptions options = flags.Read(result);
            QuantizationKind kind = result.GetValue(quant) is string given ? OptionText.ChoiceOf<QuantizationKind>("--quant", given)
                : options.Quantization == QuantizationKind.None ? QuantizationKind.Eetq : options.Quantization;
            options.Quantization = kind;
            Require(options, result, suggest, maxError, output);
            Inspect(context, options, (long)options.Batch * result.GetValue(length), result.GetValue(methods));
            if (result.GetValue(suggest))
            {
                Suggest(context, options, result.GetValue(maxError), result.GetValue(output));
            }

            return 0;
        });
        return command;
    }

    private static void Require(TrainingOptions options, ParseResult result, Option<bool> suggest, Option<double?> maxError, Option<string?> output)
    {
        List<string> faults = [];
        if (options.Model.Length == 0)
        {
            faults.Add("No model is given: pass --model with the ONNX file to look at.");
        }

        if (!result.GetValue(suggest))
        {
            faults.AddRange(((Option[])[maxError, output]).Where(o => result.GetResult(o) is not null).Select(o => $"{o.Name} goes with --suggest."));
        }
        else if (options.Quantization == QuantizationKind.None)
        {
            faults.Add("--suggest looks at what quantization costs; --quant none leaves nothing to look at.");
        }

        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }

        options.ResolveModelFolder();
    }

    private static void Inspect(CommandContext context, TrainingOptions options, long tokens, bool comparesMethods)
    {
        using OnnxModel model = BaseModel.Read(options.Model, options.BaseWeights);
        LinearSites sites = LinearFinder.Find(model);
        HashSet<string> selected =
        [
            .. new TargetModuleMatcher(new TargetOptions
            {
                TargetModules = options.Targets ?? ModuleSelector.AllLinear,
                ExcludeModules = options.ExcludeModules,
                ModulesToSave = options.ModulesToSave ?? [],
                LayersToTransform = options.LayersToTransform,
            }).Select(sites).Select(m => m.Path),
        ];
        LinearSites normalised = TrainingForm.SitesOf(model);
        MethodCost method = MethodCosts.Of(normalised, options);
        context.Output.WriteLine(
            $"{options.Model}: opset {model.Opset}, {model.Graph.AllNodes().Count()} nodes, producer {model.ProducerName ?? "unknown"}");
        context.Output.WriteLine($"  inputs  {string.Join(", ", model.Graph.RequiredInputs)}");
        context.Output.WriteLine($"  outputs {string.Join(", ", model.Graph.Outputs)}");

        Dictionary<string, QuantizedLayer> errors = options.Quantization == QuantizationKind.None ? [] : Quantize(sites, options.Quantization);
        InspectionTables.WriteModules(context, sites, selected, errors);
        long all = model.Graph.Initializers.Where(i => i.Initializer!.ElementType.IsFloatingPoint()).Sum(i => i.Initializer!.ElementCount());
        InspectionTables.WriteMethod(context, method, all);
        if (comparesMethods)
        {
            InspectionTables.WriteMethods(context, normalised, options, all);
        }

        InspectionTables.WriteQuantization(context, errors);
        MemoryEstimate estimate = MemoryEstimate.Of(model, sites, method, tokens, errors.Values);
        context.Output.WriteLine(estimate.Describe());
    }

    private static void Suggest(CommandContext context, TrainingOptions options, double? errorLimit, string? output)
    {
        using TrainingProgress progress = new(context);
        QuantizationAdvice advice = QuantizationSuggester.Suggest(options, errorLimit, progress);
        InspectionTables.WriteAdvice(context, advice);
        string yaml = SuggestedConfiguration.ToYaml(advice, options);
        context.Output.WriteLine();
        context.Output.Write(yaml);
        if (output is not null)
        {
            AtomicFile.Write(output, stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(yaml)));
            context.Output.WriteLine();
            context.Output.WriteLine($"Wrote {output}");
        }
    }

    private static Dictionary<string, QuantizedLayer> Quantize(LinearSites sites, QuantizationKind kind)
    {
        IWeightFormat format = WeightFormatRegistry.Default.Get(OptionText.Name(kind));
        return sites.Modules.Where(WeightQuantizationPass.IsQuantizedByDefault).ToDictionary(m => m.Path, m => Measure(format, m));
    }

    private static QuantizedLayer Measure(IWeightFormat format, LinearModule module)
    {
        WeightMatrix matrix = WeightMatrix.Of(module.Sites[0]);
        IQuantizedWeight quantized = format.Quantize(matrix);
        return new QuantizedLayer(
            module.Path, matrix.Name, module.InFeatures, module.OutFeatures, matrix.ByteLength, quantized.ByteLength, quantized.Error);
    }
}
