using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Training.OrtTraining;
using OrtQLoRA.Trainer.Artifacts;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Cli.Commands;

/// <summary>
/// <c>artifacts</c>: writes the files that ONNX Runtime's on-device training works on. Its flags are those of <c>train</c> that decide the
/// graph.
/// </summary>
internal static class ArtifactsCommand
{
    /// <summary>Settings of data and loop, which the program that trains has to make itself.</summary>
    private static readonly string[] LoopSettings =
    [
        "data", "eval-data", "batch", "chunk-tokens", "no-prepack", "loss-normalization", "max-steps", "epochs", "lr", "lr-schedule", "warmup-steps", "warmup-ratio",
        "lr-cycles", "lr-power", "min-lr", "decay-steps", "decay-type", "loraplus-ratio", "ema", "on-divergence", "spike-factor", "save-every", "keep-checkpoints",
        "resume", "force", "eval-every", "early-stopping", "early-stopping-threshold", "load-best", "samples", "no-report", "no-tensorboard", "no-shuffle",
        "engine", "ops", "device", "precision", "tf32", "device-memory", "tokenizer", "max-length", "append-eos", "pad-id", "threads", "profile",
    ];

    internal static Command Create(CommandContext context)
    {
        Option<string> target = new("--target") { Description = "Where they are to run: checks what that runtime needs.", HelpName = OptionText.Choices<ArtifactTarget>(), DefaultValueFactory = _ => OptionText.Name(ArtifactTarget.Any) };
        Option<string> frozen = new("--frozen") { Description = "Where weights lie that are not trained.", HelpName = OptionText.Choices<FrozenWeightPlace>(), DefaultValueFactory = _ => OptionText.Name(FrozenWeightPlace.Models) };
        Option<string> loss = new("--loss") { Description = "Loss; the task's by default.", HelpName = "NAME" };
        loss.AcceptOnlyFromAmong([.. LossHeads.All.Select(l => l.Name)]);
        Option<string> adamForm = new("--adamw-form") { Description = "Form of AdamW: torch.optim's, or hugging-face, which the official generator writes.", HelpName = OptionText.Choices<AdamWForm>(), DefaultValueFactory = _ => OptionText.Name(AdamWForm.Torch) };
        Option<string> rate = new("--lr") { Description = "Learning rate: fixed in the optimizer model for --target web, elsewhere the first rate of the linear scheduler; 0.001 by default.", HelpName = "RATE" };
        Option<string> ops = new("--ops") { Description = "Operators of the training graph; auto takes native ones, which the program must register.", HelpName = OptionText.Choices<OpsMode>(), DefaultValueFactory = _ => OptionText.Name(OpsMode.Portable) };
        Command command = new("artifacts", "Write training artifacts for ONNX Runtime's on-device training.") { target, frozen, loss, adamForm, rate, ops };
        TrainingOptionFlags flags = new(command, LoopSettings);
        command.SetAction(result =>
        {
            TrainingOptions options = flags.Read(result);
            options.Ops = OptionText.ChoiceOf<OpsMode>("--ops", result.GetValue(ops)!);
            return Run(context, options, new ArtifactOptions
            {
                Target = OptionText.ChoiceOf<ArtifactTarget>("--target", result.GetValue(target)!),
                Frozen = OptionText.ChoiceOf<FrozenWeightPlace>("--frozen", result.GetValue(frozen)!),
                Loss = result.GetValue(loss),
                AdamW = OptionText.ChoiceOf<AdamWForm>("--adamw-form", result.GetValue(adamForm)!),
                LearningRate = Rate(result.GetValue(rate)),
            });
        });
        return command;
    }

    private static int Run(CommandContext context, TrainingOptions options, ArtifactOptions artifactOptions)
    {
        using TrainingProgress progress = new(context);
        ArtifactSummary summary = ArtifactsWriter.Write(options, artifactOptions, progress);
        progress.Finish();
        context.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Wrote {string.Join(", ", summary.Files.All.Select(Path.GetFileName))} to {summary.Files.Folder} ({summary.Bytes / 1e6:F1} MB): {summary.TrainableParameters:N0} parameters in {summary.TrainableTensors} tensors are trained."));
        context.Output.WriteLine($"Inputs of a training step, in this order: {string.Join(", ", summary.UserInputs)}. Outputs of an eval step: {string.Join(", ", summary.Outputs)}.");
        foreach (string remark in summary.Remarks)
        {
            context.Output.WriteLine(remark);
        }

        return 0;
    }

    private static double? Rate(string? text)
    {
        if (text is null)
        {
            return null;
        }

        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double rate) && rate > 0 && double.IsFinite(rate)
            ? rate
            : throw new ConfigurationException($"--lr is '{text}'; it must be a finite number above 0.");
    }
}
