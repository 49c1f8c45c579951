using System.CommandLine;
using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>train</c>: fine-tunes a model. Its flags are the entries of <see cref="TrainingOptionCatalog"/>.</summary>
internal static class TrainCommand
{
    internal static Command Create(CommandContext context)
    {
        Command command = new("train", "Fine-tune a model and write a run folder.");
        TrainingOptionFlags flags = new(command);
        command.SetAction(result => Run(context, flags.Read(result)));
        return command;
    }

    private static int Run(CommandContext context, TrainingOptions options)
    {
        using CancellationTokenSource cancellation = new();
        using TrainingProgress progress = new(context);
        ConsoleCancelEventHandler cancel = (_, e) =>
        {
            // The run ends after the present step and writes its adapter; a second Ctrl+C ends the process.
            e.Cancel = !cancellation.IsCancellationRequested;
            cancellation.Cancel();
        };
        Console.CancelKeyPress += cancel;
        TrainingResult result;
        try
        {
            result = QLoraTrainer.Run(options, progress, cancellation.Token);
        }
        finally
        {
            Console.CancelKeyPress -= cancel;
        }

        progress.Finish();
        TrainingSummary.Write(context, result);
        return 0;
    }
}
