using System.Globalization;
using System.Net;
using System.Text;

namespace OrtQLoRA.Trainer.Reports;

/// <summary>Draws lines over steps as SVG, coloured by the page's style sheet.</summary>
internal static class LineChart
{
    private const double Width = 640;
    private const double Height = 260;
    private const double Left = 64;
    private const double Right = 12;
    private const double Top = 12;
    private const double Bottom = 28;

    /// <summary>More points than this per line cannot be told apart and only make the file larger.</summary>
    private const int MostPoints = 800;

    /// <summary>Draws a chart with its legend.</summary>
    /// <param name="title">Title above it.</param>
    /// <param name="series">The lines.</param>
    internal static string Draw(string title, params IReadOnlyList<ChartSeries> series)
    {
        (double X, double Y)[][] lines = [.. series.Select(s => Thin([.. s.Points.Where(p => double.IsFinite(p.Y))]))];
        (double X, double Y)[] all = [.. lines.SelectMany(l => l)];
        if (all.Length == 0)
        {
            return "";
        }

        Axis x = Axis.Of(all.Min(p => p.X), all.Max(p => p.X));
        Axis y = Axis.Of(all.Min(p => p.Y), all.Max(p => p.Y)).Rounded();
        StringBuilder svg = new();
        svg.Append(CultureInfo.InvariantCulture, $"<figure><figcaption>{Escape(title)}</figcaption>");
        svg.Append(CultureInfo.InvariantCulture, $"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{Escape(title)}\">");
        foreach (double tick in y.Ticks(5))
        {
            double at = Y(y, tick);
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{at:F1}\" y2=\"{at:F1}\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text class=\"tick\" x=\"{Left - 8}\" y=\"{at + 4:F1}\" text-anchor=\"end\">{Number(tick)}</text>");
        }

        foreach (double tick in x.Ticks(6).Where(t => x.Span < 1 || t == Math.Floor(t)))
        {
            svg.Append(CultureInfo.InvariantCulture, $"<text class=\"tick\" x=\"{X(x, tick):F1}\" y=\"{Height - 8}\" text-anchor=\"middle\">{Number(tick)}</text>");
        }

        foreach ((ChartSeries line, (double X, double Y)[] points) in series.Zip(lines))
        {
            AppendLine(svg, line, points, x, y);
        }

        svg.Append("</svg>");
        if (series.Count > 1)
        {
            svg.Append("<p class=\"legend\">");
            foreach (ChartSeries line in series.Where(s => s.Points.Count > 0))
            {
                svg.Append(CultureInfo.InvariantCulture, $"<span class=\"key {line.Style}\"></span>{Escape(line.Name)} ");
            }

            svg.Append("</p>");
        }

        return svg.Append("</figure>").ToString();
    }

    internal static string Escape(string text) => WebUtility.HtmlEncode(text);

    /// <summary>A number in about five figures.</summary>
    internal static string Number(double value) => value.ToString(
        Math.Abs(value) switch
        {
            0 => "0",
            < 1e-3 or >= 1e9 => "0.##e0",
            >= 1000 => "#,0.#",
            >= 100 => "0.##",
            _ => "0.####",
        },
        CultureInfo.InvariantCulture);

    private static void AppendLine(StringBuilder svg, ChartSeries line, (double X, double Y)[] points, Axis x, Axis y)
    {
        if (points.Length == 0)
        {
            return;
        }

        string path = string.Join(' ', points.Select(p => string.Create(CultureInfo.InvariantCulture, $"{X(x, p.X):F1},{Y(y, p.Y):F1}")));
        svg.Append(CultureInfo.InvariantCulture, $"<polyline class=\"line {line.Style}\" points=\"{path}\"/>");
        foreach ((double px, double py) in line.ShowsMarks || points.Length == 1 ? points : [])
        {
            svg.Append(CultureInfo.InvariantCulture, $"<circle class=\"mark {line.Style}\" cx=\"{X(x, px):F1}\" cy=\"{Y(y, py):F1}\" r=\"3\"><title>step {Number(px)}: {py.ToString("G5", CultureInfo.InvariantCulture)}</title></circle>");
        }
    }

    private static double X(Axis axis, double value) => Left + ((Width - Left - Right) * axis.Share(value));

    private static double Y(Axis axis, double value) => Height - Bottom - ((Height - Top - Bottom) * axis.Share(value));

    /// <summary>Keeps the lowest and highest point of each stretch, so that spikes stay.</summary>
    private static (double X, double Y)[] Thin((double X, double Y)[] points)
    {
        if (points.Length <= MostPoints)
        {
            return points;
        }

        int stretch = ((points.Length * 2) + MostPoints - 1) / MostPoints;
        return [.. points.Chunk(stretch).SelectMany(c => new[] { c.MinBy(p => p.Y), c.MaxBy(p => p.Y) }.OrderBy(p => p.X))];
    }
}
