using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace OrtQLoRA.Trainer.Reports;

/// <summary>Two runs side by side: figures, differing settings, curves.</summary>
public sealed class RunComparison
{
    private static readonly HashSet<string> Uninteresting = ["out", "resume", "force", "version"];

    /// <summary>Compares.</summary>
    /// <param name="first">The first run.</param>
    /// <param name="second">The second run.</param>
    public RunComparison(RunSummary first, RunSummary second)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        First = first;
        Second = second;
        Figures =
        [
            Row("steps", r => r.Steps[^1].Step),
            Row("training loss, first tenth", r => r.FirstLoss),
            Row("training loss, last tenth", r => r.FinalLoss),
            Row("best eval loss", r => r.Best?.EvalLoss),
            Row("step of the best eval loss", r => r.Best?.Step),
            Row("eval loss at the end", r => r.Evaluation?.Loss),
            Row("eval accuracy at the end", r => r.Evaluation?.Accuracy),
            Row("tokens", r => r.Tokens),
            Row("tokens per second", r => r.TokensPerSecond),
            Row("seconds in steps", r => r.Seconds),
        ];
        Settings =
        [
            .. first.Config.Select(p => p.Key).Union(second.Config.Select(p => p.Key)).Where(k => !Uninteresting.Contains(k))
                .Select(k => (Name: k, First: RunReport.Text(first.Config[k]), Second: RunReport.Text(second.Config[k])))
                .Where(s => s.First != s.Second),
        ];
    }

    /// <summary>The first run.</summary>
    public RunSummary First { get; }

    /// <summary>The second run.</summary>
    public RunSummary Second { get; }

    /// <summary>Figures of both; null where a run has none.</summary>
    public IReadOnlyList<(string Name, double? First, double? Second)> Figures { get; }

    /// <summary>Settings that differ; empty text where one is not set.</summary>
    public IReadOnlyList<(string Name, string First, string Second)> Settings { get; }

    /// <summary>The comparison as JSON.</summary>
    public JsonObject ToJson() => new()
    {
        ["runs"] = new JsonArray(First.Folder.Path, Second.Folder.Path),
        ["figures"] = new JsonObject(Figures.Select(f => KeyValuePair.Create<string, JsonNode?>(f.Name, Pair(f.First, f.Second)))),
        ["settings"] = new JsonObject(Settings.Select(s => KeyValuePair.Create<string, JsonNode?>(s.Name, new JsonArray(s.First, s.Second)))),
    };

    /// <summary>Writes the comparison as a page of its own, with the curves of both runs.</summary>
    /// <exception cref="Graph.FileWriteException">The file cannot be written.</exception>
    public void WriteHtml(string path)
    {
        string first = Path.GetFileName(First.Folder.Path);
        string second = Path.GetFileName(Second.Folder.Path);
        StringBuilder body = new();
        body.Append(CultureInfo.InvariantCulture, $"<h1>{LineChart.Escape(first)} and {LineChart.Escape(second)}</h1>");
        body.Append(CultureInfo.InvariantCulture, $"<p class=\"sub\">{LineChart.Escape(First.Folder.Path)} &middot; {LineChart.Escape(Second.Folder.Path)}</p><div class=\"charts\">");
        body.Append(LineChart.Draw(
            "Training loss, smoothed", new ChartSeries(first, "s1", First.SmoothedLosses()), new ChartSeries(second, "s2", Second.SmoothedLosses())));
        body.Append(LineChart.Draw("Eval loss", Evaluated(First, first, "s1"), Evaluated(Second, second, "s2")));
        body.Append(LineChart.Draw(
            "Learning rate",
            new ChartSeries(first, "s1", [.. First.Steps.Select(s => ((double)s.Step, s.LearningRate))]),
            new ChartSeries(second, "s2", [.. Second.Steps.Select(s => ((double)s.Step, s.LearningRate))])));
        body.Append("</div>");
        AppendTable(body, "Figures", first, second, Figures.Select(f => (f.Name, Number(f.First), Number(f.Second))), "n");
        AppendTable(body, "Settings that differ", first, second, Settings, "");
        HtmlPage.Write(path, $"{first} and {second} - OrtQLoRA", body.ToString());
    }

    /// <summary>A figure as tables show it; a dash where there is none.</summary>
    public static string Number(double? value) => value is double number ? LineChart.Number(number) : "-";

    private static ChartSeries Evaluated(RunSummary run, string name, string style) =>
        new(name, style, [.. run.Steps.Where(s => s.EvalLoss is not null).Select(s => ((double)s.Step, s.EvalLoss!.Value))], ShowsMarks: true);

    private static JsonArray Pair(double? first, double? second) => new(Finite(first), Finite(second));

    private static JsonNode? Finite(double? value) => value is double number && double.IsFinite(number) ? JsonValue.Create(number) : null;

    private static void AppendTable(
        StringBuilder body, string title, string first, string second, IEnumerable<(string Name, string First, string Second)> rows, string style)
    {
        body.Append(CultureInfo.InvariantCulture, $"<h2>{title}</h2><div class=\"card\"><table>");
        body.Append(CultureInfo.InvariantCulture, $"<tr><th></th><th class=\"{style}\">{LineChart.Escape(first)}</th><th class=\"{style}\">{LineChart.Escape(second)}</th></tr>");
        foreach ((string name, string a, string b) in rows)
        {
            body.Append(CultureInfo.InvariantCulture, $"<tr><td>{LineChart.Escape(name)}</td><td class=\"{style}\">{LineChart.Escape(a)}</td><td class=\"{style}\">{LineChart.Escape(b)}</td></tr>");
        }

        body.Append("</table></div>");
    }

    private (string Name, double? First, double? Second) Row(string name, Func<RunSummary, double?> figure) => (name, figure(First), figure(Second));
}
