using System.CommandLine;
using System.Text.Json;
using OrtQLoRA.Trainer.Reports;
using Spectre.Console;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>compare</c>: shows two runs side by side.</summary>
internal static class CompareCommand
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    internal static Command Create(CommandContext context)
    {
        Argument<string> first = new("runA") { Description = "Run folder." };
        Argument<string> second = new("runB") { Description = "Another run folder." };
        Option<bool> json = new("--json") { Description = "Write the comparison as JSON." };
        Option<string> output = new("--output") { Description = "Write a page with the curves of both as well.", HelpName = "FILE" };
        Command command = new("compare", "Show two runs side by side: figures and differing settings.") { first, second, json, output };
        command.SetAction(result =>
        {
            RunComparison comparison = new(RunSummary.Read(result.GetValue(first)!), RunSummary.Read(result.GetValue(second)!));
            if (result.GetValue(json))
            {
                context.Output.WriteLine(comparison.ToJson().ToJsonString(Indented));
            }
            else
            {
                Show(context, comparison);
            }

            if (result.GetValue(output) is string path)
            {
                comparison.WriteHtml(path);
                context.Error.WriteLine($"Wrote {path}");
            }

            return 0;
        });
        return command;
    }

    private static void Show(CommandContext context, RunComparison comparison)
    {
        string first = Path.GetFileName(comparison.First.Folder.Path);
        string second = Path.GetFileName(comparison.Second.Folder.Path);
        Table figures = NewTable("", first, second);
        foreach ((string name, double? a, double? b) in comparison.Figures.Where(f => f.First is not null || f.Second is not null))
        {
            figures.AddRow(Markup.Escape(name), RunComparison.Number(a), RunComparison.Number(b));
        }

        context.Tables.Write(figures);
        if (comparison.Settings.Count == 0)
        {
            context.Output.WriteLine("All settings are the same.");
            return;
        }

        Table settings = NewTable("setting", first, second);
        foreach ((string name, string a, string b) in comparison.Settings)
        {
            settings.AddRow(Markup.Escape(name), Markup.Escape(a), Markup.Escape(b));
        }

        context.Tables.Write(settings);
    }

    private static Table NewTable(params string[] columns)
    {
        Table table = new() { Border = TableBorder.Simple };
        foreach (string column in columns)
        {
            table.AddColumn(new TableColumn(Markup.Escape(column)));
        }

        return table;
    }
}
