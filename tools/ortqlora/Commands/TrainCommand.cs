using System.CommandLine;
using System.Runtime.InteropServices;
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
        void Cancel(PosixSignalContext signal)
        {
            // The run ends after the present step and writes checkpoint and adapter; a second signal ends the process.
            signal.Cancel = !cancellation.IsCancellationRequested;
            cancellation.Cancel();
        }

        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Cancel);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Cancel);
        TrainingResult result = QLoraTrainer.Run(options, progress, cancellation.Token);

        progress.Finish();
        TrainingSummary.Write(context, result);
        return 0;
    }
}
