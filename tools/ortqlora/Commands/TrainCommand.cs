using System.CommandLine;
using System.Runtime.InteropServices;
using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>train</c>: fine-tunes a model. Its flags are the entries of <see cref="TrainingOptionCatalog"/>.</summary>
internal static class TrainCommand
{
    internal static Command Create(CommandContext context)
    {
        Command command = new("train", "Fine-tune a model and write a run folder.");
        TrainingOptionFlags flags = new(command);
        Option<bool> dryRun = new("--dry-run") { Description = "Read and build everything, estimate memory and time, and write nothing." };
        command.Options.Add(dryRun);
        command.SetAction(result => result.GetValue(dryRun) ? Estimate(context, flags.Read(result)) : Run(context, flags.Read(result)));
        return command;
    }

    /// <summary>Shows what a run would take; a run that does not fit is the user's to mend.</summary>
    private static int Estimate(CommandContext context, TrainingOptions options)
    {
        using TrainingProgress progress = new(context);
        TrainingEstimate estimate = QLoraTrainer.Estimate(options, progress);
        foreach (string line in estimate.Describe())
        {
            context.Output.WriteLine(line);
        }

        return estimate.Fits ? 0 : CommandLineApp.UserError;
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
