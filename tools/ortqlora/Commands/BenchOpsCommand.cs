using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph.IO;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Trainer.Benchmarks;
using OrtQLoRA.Trainer.Configuration;
using Spectre.Console;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>bench ops</c>: each native operator beside what stock ONNX Runtime does, and beside the chip's peak in the same run.</summary>
internal static class BenchOpsCommand
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    internal static Command Create(CommandContext context)
    {
        OperatorBenchmarkOptions defaults = new();
        Option<string> shapes = new("--shapes") { Description = "Sizes of int8 weights.", HelpName = "KxN,KxN", DefaultValueFactory = _ => string.Join(',', defaults.Shapes.Select(s => $"{s.K}x{s.N}")) };
        Option<int[]> rows = new("--rows") { Description = "Rows that products multiply.", HelpName = "NUMBERS", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [.. defaults.Rows] };
        Option<string[]> computes = new("--compute") { Description = "Arithmetic of native products.", HelpName = OptionText.Choices<Int8Compute>(), AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [.. defaults.Computes.Select(OptionText.Name)] };
        Option<string> fused = new("--fused-compute") { Description = "Arithmetic of fused operators that multiply.", HelpName = OptionText.Choices<Int8Compute>(), DefaultValueFactory = _ => OptionText.Name(defaults.FusedCompute) };
        Option<string[]> only = new("--only") { Description = "Operators to measure; all by default.", HelpName = "NAMES", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [] };
        Option<int> batch = Number("--batch", "Rows of the fused operators' batch.", defaults.Batch);
        Option<int> length = Number("--length", "Tokens of a row.", defaults.Length);
        Option<int> hidden = Number("--hidden", "Features of a token.", defaults.Hidden);
        Option<int> mlp = Number("--mlp", "Features inside the MLP.", defaults.Mlp);
        Option<int> heads = Number("--heads", "Attention heads.", defaults.Heads);
        Option<int> vocabulary = Number("--vocab", "Classes of the output head.", defaults.Vocabulary);
        Option<int> rank = Number("--rank", "Rank of the LoRA branch.", defaults.Rank);
        Option<int> trained = Number("--trained", "Numbers that the optimizer updates.", defaults.Trained);
        Option<double> seconds = new("--seconds") { Description = "Time for each implementation at each size.", HelpName = "S", DefaultValueFactory = _ => defaults.Seconds };
        Option<int> threads = Number("--threads", "Threads within an operator; 0: one a processor.", defaults.Threads);
        Option<string?> json = new("--json") { Description = "File to write the measurements to.", HelpName = "FILE" };
        Command command = new("ops", "Time each native operator beside stock ONNX Runtime and the chip's peak.")
        {
            shapes, rows, computes, fused, only, batch, length, hidden, mlp, heads, vocabulary, rank, trained, seconds, threads, json,
        };
        command.SetAction(result =>
        {
            OperatorBenchmarkOptions options = new()
            {
                Shapes = OperatorBenchmarkOptions.ParseShapes(result.GetValue(shapes)!),
                Rows = result.GetValue(rows)!,
                Computes = [.. result.GetValue(computes)!.Select(c => OptionText.ChoiceOf<Int8Compute>("--compute", c))],
                FusedCompute = OptionText.ChoiceOf<Int8Compute>("--fused-compute", result.GetValue(fused)!),
                Only = result.GetValue(only)!,
                Batch = result.GetValue(batch),
                Length = result.GetValue(length),
                Hidden = result.GetValue(hidden),
                Mlp = result.GetValue(mlp),
                Heads = result.GetValue(heads),
                Vocabulary = result.GetValue(vocabulary),
                Rank = result.GetValue(rank),
                Trained = result.GetValue(trained),
                Seconds = result.GetValue(seconds),
                Threads = result.GetValue(threads),
            };
            using TrainingProgress progress = new(context);
            OperatorBenchmarkReport report = OperatorBenchmark.Run(CustomOpLibrary.Load(), options, progress);
            Write(context, report);
            if (result.GetValue(json) is string file)
            {
                AtomicFile.Write(file, stream => JsonSerializer.Serialize(stream, report, Indented));
            }

            return 0;
        });
        return command;
    }

    private static void Write(CommandContext context, OperatorBenchmarkReport report)
    {
        context.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"path {report.CpuPath}, {report.Threads} threads, ONNX Runtime {report.OnnxRuntime}; peaks in GFLOP/s: {string.Join(", ", report.Peaks.Select(p => string.Create(CultureInfo.InvariantCulture, $"{p.Key} {p.Value:F0}")))}; plain read {report.ReadRate:F0} GB/s"));
        Table table = new Table().AddColumns("Operators", "Shape", "Implementation", "Microseconds", "GFLOP/s", "Of the peak", "Times as fast");
        (string Operators, string Shape) last = default;
        foreach (OperatorTiming timing in report.Results)
        {
            (string Operators, string Shape) place = (string.Join(", ", timing.Operators), timing.Shape);
            bool isNew = place != last;
            last = place;
            table.AddRow(
                new Text(isNew ? place.Operators : ""),
                new Text(isNew ? place.Shape : ""),
                new Text(timing.Implementation),
                new Text((timing.Seconds * 1e6).ToString("F1", CultureInfo.InvariantCulture)),
                new Text(timing.GigaOperationsPerSecond?.ToString("F1", CultureInfo.InvariantCulture) ?? ""),
                new Text(timing.ShareOfPeak is double share ? string.Create(CultureInfo.InvariantCulture, $"{100 * share:F0} % {timing.PeakName}") : ""),
                new Text(timing.TimesAsFast.ToString("F2", CultureInfo.InvariantCulture)));
        }

        context.Tables.Write(table);
    }

    private static Option<int> Number(string name, string description, int value) =>
        new(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => value };
}
