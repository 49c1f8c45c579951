using System.CommandLine;
using System.Globalization;
using OrtQLoRA.CustomOps;
using OrtQLoRA.ExportTool;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>export</c>: writes a run's result, or a model with an adapter, in the form that a server reads.</summary>
internal static class ExportCommand
{
    private const int VerifiedExamples = 4;

    // Far beyond what rounding does to any model (2e-3 in fp16, 1e-4 in fp32): the export is another function.
    private const double LargestDifference = 5e-2;

    // More than rounding in fp32 explains.
    private const double NotableDifference = 1e-3;

    internal static Command Create(CommandContext context)
    {
        ExportFlags flags = new();
        Option<bool> noVerify = new("--no-verify") { Description = "Do not run the exported model and compare it with the trained graph." };
        Command command = new("export", "Write the fine-tuned model in the form that a server reads.");
        foreach (Option flag in flags.All.Append(noVerify))
        {
            command.Add(flag);
        }

        command.SetAction(result =>
        {
            ExportOptions options = flags.Options(result);
            ExportResult export = ModelExporter.Export(flags.Source(result), options);
            ExportFlags.Print(export, context.Output, context.Error);
            if (!result.GetValue(noVerify) && flags.Run(result) is string folder && export.Model is not null && !flags.IsUnmerge(result))
            {
                Verify(context, RunFolder.Open(folder), export, options);
            }

            return 0;
        });
        return command;
    }

    private static bool HasDequantizedWeights(string path)
    {
        using OnnxModel model = OnnxModelReader.Read(path);
        return model.Graph.AllNodes().Any(n => n.OpType == "DequantizeLinear");
    }

    private static void Verify(CommandContext context, RunFolder run, ExportResult export, ExportOptions options)
    {
        string data = run.ReadOptions().Data;
        if (!File.Exists(data))
        {
            context.Error.WriteLine($"Note: the export was not compared with the trained graph, since the run's data '{data}' is gone.");
            return;
        }

        bool usesOperators = options.Form == QuantizedForm.MatMulInt8;
        if (usesOperators && !CustomOpLibrary.TryLoad(out _, out string? reason))
        {
            context.Error.WriteLine($"Note: the export was not compared with the trained graph. {reason}");
            return;
        }

        double difference;
        try
        {
            difference = ExportVerifier.RelativeDifference(run, export.Model!, data, VerifiedExamples, export.OnnxAdapter, usesOperators);
        }
        catch (EngineException) when (ExportVerifier.WhyBaseDoesNotRun(run) is { } obstacle)
        {
            context.Error.WriteLine($"Note: the export was not compared with the trained graph, since ONNX Runtime does not run the base model here either: {obstacle}. Export with --dtype fp32 for a model that runs.");
            return;
        }

        bool isRounded = options.Form is not null || options.Kind == ExportKind.Int8 || options.Precision is DataType.BFloat16;
        if (!isRounded && !(difference < LargestDifference))
        {
            throw new EngineException(string.Create(
                CultureInfo.InvariantCulture,
                $"The exported model '{export.Model}' differs from the trained graph by {difference:E1} (relative L2 over {VerifiedExamples} examples); do not serve it, and please report it."));
        }

        context.Output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Differs from the trained graph by {difference:E1} (relative L2 over {VerifiedExamples} examples)"));
        if (difference > NotableDifference && HasDequantizedWeights(export.Model!))
        {
            double exact = ExportVerifier.RelativeDifference(run, export.Model!, data, VerifiedExamples, export.OnnxAdapter, usesOperators, isExact: true);
            context.Output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"Of that ONNX Runtime's rounding of activations before quantized weights: with session.qdq_matmulnbits_accuracy_level = 1 it differs by {exact:E1}"));
        }
    }
}
