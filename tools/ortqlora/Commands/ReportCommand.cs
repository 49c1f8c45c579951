using System.CommandLine;
using OrtQLoRA.Trainer.Reports;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>report</c>: writes a run's report anew, for example of one that is still going on.</summary>
internal static class ReportCommand
{
    internal static Command Create(CommandContext context)
    {
        Option<string> run = new("--run") { Description = "Run folder.", HelpName = "FOLDER", Required = true };
        Command command = new("report", "Write report.html of a run, finished or not.") { run };
        command.SetAction(result =>
        {
            context.Output.WriteLine($"Wrote {RunReport.Write(RunFolder.Open(result.GetValue(run)!))}");
            return 0;
        });
        return command;
    }
}
