using System.CommandLine;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>export</c>: writes a run's result, or a model with an adapter, as a model for servers.</summary>
internal static class ExportCommand
{
    internal static Command Create(CommandContext context)
    {
        Option<string> run = new("--run") { Description = "Run folder.", HelpName = "FOLDER" };
        Option<string> model = new("--model") { Description = "Base model, with --adapter instead of --run.", HelpName = "FILE" };
        Option<string> adapter = new("--adapter") { Description = "Adapter: PEFT folder or safetensors file.", HelpName = "PATH" };
        Option<string> quant = new("--quant") { Description = "How the base was kept in training, with --adapter.", HelpName = OptionText.Choices<QuantizationKind>(), DefaultValueFactory = _ => OptionText.Name(QuantizationKind.None) };
        Option<string> onto = new("--onto") { Description = "Merge onto the weights as trained (dequantized), or onto the original ones.", HelpName = "trained|original", DefaultValueFactory = _ => "trained" };
        onto.AcceptOnlyFromAmong("trained", "original");
        Option<string> to = new("--to") { Description = "What to write.", HelpName = "merged", DefaultValueFactory = _ => "merged" };
        to.AcceptOnlyFromAmong("merged");
        Option<string> output = new("--output") { Description = "Model to write.", HelpName = "FILE", Required = true };
        Command command = new("export", "Write the fine-tuned model for inference servers.") { run, model, adapter, quant, onto, to, output };
        command.SetAction(result =>
        {
            string path = result.GetValue(output)!;
            bool original = result.GetValue(onto) == "original";
            if (result.GetValue(run) is string folder && result.GetValue(model) is null && result.GetValue(adapter) is null)
            {
                RunExporter.ExportMerged(RunFolder.Open(folder), path, original);
            }
            else if (result.GetValue(model) is string basePath && result.GetValue(adapter) is string adapterPath && result.GetValue(run) is null)
            {
                QuantizationKind quantization = OptionText.ChoiceOf<QuantizationKind>("--quant", result.GetValue(quant)!);
                RunExporter.ExportMerged(basePath, adapterPath, path, original ? QuantizationKind.None : quantization);
            }
            else
            {
                throw new ConfigurationException("Pass either --run with a run folder, or --model and --adapter.");
            }

            context.Output.WriteLine($"Wrote {path}");
            return 0;
        });
        return command;
    }
}
