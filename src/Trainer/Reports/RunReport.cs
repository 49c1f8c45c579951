using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Trainer.Runs;

namespace OrtQLoRA.Trainer.Reports;

/// <summary>Writes <c>report.html</c> of a run from the other files of its folder: curves, samples, settings, quantization errors.</summary>
public static class RunReport
{
    /// <summary>Writes the report.</summary>
    /// <param name="folder">A run with at least one step.</param>
    /// <returns>The file written.</returns>
    /// <exception cref="Graph.ConfigurationException">The run has no steps.</exception>
    /// <exception cref="Graph.FileWriteException">The file cannot be written.</exception>
    public static string Write(RunFolder folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        RunSummary run = RunSummary.Read(folder.Path);
        string name = Path.GetFileName(folder.Path);
        StringBuilder body = new();
        body.Append(CultureInfo.InvariantCulture, $"<h1>{LineChart.Escape(name)}</h1>");
        body.Append(CultureInfo.InvariantCulture, $"<p class=\"sub\">{LineChart.Escape(Text(run.Config["model"]))} &middot; {LineChart.Escape(Text(run.Config["data"]))}</p>");
        AppendTiles(body, run);
        AppendCharts(body, run);
        AppendSamples(body, folder);
        AppendQuantization(body, folder);
        AppendConfig(body, run.Config);
        HtmlPage.Write(folder.ReportFile, $"{name} - OrtQLoRA", body.ToString());
        return folder.ReportFile;
    }

    internal static string Text(JsonNode? node) => node is JsonValue value && value.TryGetValue(out string? text) ? text : node?.ToJsonString() ?? "";

    private static void AppendTiles(StringBuilder body, RunSummary run)
    {
        body.Append("<div class=\"tiles\">");
        Tile(body, run.Steps[^1].Step.ToString(CultureInfo.InvariantCulture), "steps");
        Tile(body, $"{LineChart.Number(run.FirstLoss)} &rarr; {LineChart.Number(run.FinalLoss)}", "training loss, first and last tenth");
        if (run.Best is { } best)
        {
            Tile(body, LineChart.Number(best.EvalLoss!.Value), $"best eval loss, step {best.Step}");
        }

        if (run.Evaluation is { } evaluation)
        {
            Tile(body, LineChart.Number(evaluation.Loss), "eval loss at the end");
            if (evaluation.Accuracy is double accuracy)
            {
                Tile(body, accuracy.ToString("P1", CultureInfo.InvariantCulture), "eval accuracy at the end");
            }
        }

        Tile(body, run.TokensPerSecond.ToString("N0", CultureInfo.InvariantCulture), "tokens per second");
        Tile(body, TimeSpan.FromSeconds(Math.Round(run.Seconds)).ToString("c", CultureInfo.InvariantCulture), "time in steps");
        body.Append("</div>");
    }

    private static void Tile(StringBuilder body, string value, string label) =>
        body.Append(CultureInfo.InvariantCulture, $"<div class=\"tile\"><b>{value}</b><span>{label}</span></div>");

    private static void AppendCharts(StringBuilder body, RunSummary run)
    {
        List<ChartSeries> losses =
        [
            new("training", "faint", [.. run.Steps.Select(s => ((double)s.Step, s.Loss))]),
            new("training, smoothed", "s1", run.SmoothedLosses()),
        ];
        (double, double)[] evaluated = [.. run.Steps.Where(s => s.EvalLoss is not null).Select(s => ((double)s.Step, s.EvalLoss!.Value))];
        if (evaluated.Length > 0)
        {
            losses.Add(new("eval", "s2", evaluated, ShowsMarks: true));
        }

        body.Append("<div class=\"charts\">").Append(LineChart.Draw("Loss", losses));
        body.Append(LineChart.Draw("Learning rate", new ChartSeries("learning rate", "s1", [.. run.Steps.Select(s => ((double)s.Step, s.LearningRate))])));
        body.Append(LineChart.Draw("Gradient norm before clipping", new ChartSeries("norm", "s1", [.. run.Steps.Select(s => ((double)s.Step, s.GradientNorm))])));
        body.Append(LineChart.Draw(
            "Tokens per second", new ChartSeries("tokens/s", "s1", [.. run.Steps.Where(s => s.Seconds > 0).Select(s => ((double)s.Step, s.Tokens / s.Seconds))])));
        body.Append("</div>");
    }

    private static void AppendSamples(StringBuilder body, RunFolder folder)
    {
        if (!File.Exists(folder.SamplesFile))
        {
            return;
        }

        body.Append("<h2>Samples</h2><p class=\"sub\">Prompts from the data, each with the model&rsquo;s likeliest continuation.</p>");
        foreach (string line in File.ReadLines(folder.SamplesFile))
        {
            TextSample sample = JsonSerializer.Deserialize<TextSample>(line)!;
            body.Append(CultureInfo.InvariantCulture, $"<div class=\"card\"><pre><i>{LineChart.Escape(sample.Prompt)}</i><b>{LineChart.Escape(sample.Continuation)}</b></pre>");
            body.Append(CultureInfo.InvariantCulture, $"<pre><i>In the data: {LineChart.Escape(sample.Expected)}</i></pre></div>");
        }
    }

    private static void AppendQuantization(StringBuilder body, RunFolder folder)
    {
        QuantizationReport? report = RunSummary.ReadJson<QuantizationReport>(folder.QuantizationFile);
        if (report is null || report.Layers.Count == 0)
        {
            return;
        }

        double largest = Math.Max(report.Layers.Max(l => l.Error.RelativeFrobenius), double.Epsilon);
        body.Append(CultureInfo.InvariantCulture, $"<h2>Quantization error by layer ({LineChart.Escape(report.Format)})</h2><div class=\"card\"><table>");
        body.Append("<tr><th>layer</th><th class=\"n\">shape</th><th class=\"n\">relative error</th><th></th><th class=\"n\">worst output</th></tr>");
        foreach (QuantizedLayer layer in report.Layers)
        {
            double share = 100 * layer.Error.RelativeFrobenius / largest;
            body.Append(CultureInfo.InvariantCulture, $"<tr><td>{LineChart.Escape(layer.ModulePath)}</td><td class=\"n\">{layer.InFeatures} &times; {layer.OutFeatures}</td>");
            body.Append(CultureInfo.InvariantCulture, $"<td class=\"n\">{Percent(layer.Error.RelativeFrobenius)}</td><td class=\"barcell\"><div class=\"bar\" style=\"width:{share:F1}%\"></div></td>");
            body.Append(CultureInfo.InvariantCulture, $"<td class=\"n\">{Percent(layer.Error.WorstColumnRelative)}</td></tr>");
        }

        body.Append("</table></div>");
    }

    private static string Percent(double share) => (100 * share).ToString("0.### \\%", CultureInfo.InvariantCulture);

    private static void AppendConfig(StringBuilder body, JsonObject config)
    {
        body.Append("<h2>Configuration</h2><div class=\"card\"><table>");
        foreach ((string key, JsonNode? value) in config)
        {
            body.Append(CultureInfo.InvariantCulture, $"<tr><td>{LineChart.Escape(key)}</td><td>{LineChart.Escape(Text(value))}</td></tr>");
        }

        body.Append("</table></div>");
    }
}
