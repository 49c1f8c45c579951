using System.CommandLine;
using System.Globalization;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Inspection;
using Spectre.Console;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>bench start</c>: what int8 costs a model's loss, and how much of that LoftQ's start makes up for.</summary>
internal static class BenchStartCommand
{
    internal static Command Create(CommandContext context)
    {
        Option<int[]> ranks = new("--ranks") { Description = "Ranks of LoftQ's adapters.", HelpName = "NUMBERS", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [4, 8, 16, 32] };
        Command command = new("start", "Compare losses before the first step: float base, int8 base, int8 base with LoftQ's start.") { ranks };
        TrainingOptionFlags flags = TrainingOptionFlags.Only(
            command,
            "model", "base-weights", "data", "task", "loss-output", "quant", "quant-exclude", "alpha", "targets", "exclude-modules", "loftq-iter", "tokenizer", "columns", "loss-on",
            "chat-template", "max-length", "truncation", "append-eos", "pad-id", "batch", "ops", "compute", "threads");
        command.SetAction(result =>
        {
            TrainingOptions options = flags.Read(result);
            options.ResolveModelFolder();
            using TrainingProgress progress = new(context);
            Write(context, StartingLoss.Measure(options, result.GetValue(ranks)!, progress));
            return 0;
        });
        return command;
    }

    private static void Write(CommandContext context, IReadOnlyList<StartingLossResult> results)
    {
        double whole = results[1].Loss - results[0].Loss;
        Table table = new Table().AddColumns("Base", "Rank", "Loss", "Above the float base", "Made up for");
        foreach (StartingLossResult result in results)
        {
            double above = result.Loss - results[0].Loss;
            table.AddRow(
                new Text(result.Base),
                new Text(result.Rank?.ToString(CultureInfo.InvariantCulture) ?? ""),
                new Text(result.Loss.ToString("F6", CultureInfo.InvariantCulture)),
                new Text(above.ToString("E2", CultureInfo.InvariantCulture)),
                new Text(result.Rank is null || whole <= 0 ? "" : (1 - (above / whole)).ToString("P1", CultureInfo.InvariantCulture)));
        }

        context.Tables.Write(table);
    }
}
