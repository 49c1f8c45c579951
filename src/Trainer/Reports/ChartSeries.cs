namespace OrtQLoRA.Trainer.Reports;

/// <summary>One line of a chart.</summary>
/// <param name="Name">What it shows, for the legend.</param>
/// <param name="Style">Its CSS class: <c>s1</c> to <c>s4</c>, or <c>faint</c>.</param>
/// <param name="Points">Its points in order of x; those with a y that is not finite are left out.</param>
/// <param name="ShowsMarks">Whether to mark each point, for few points.</param>
internal sealed record ChartSeries(string Name, string Style, IReadOnlyList<(double X, double Y)> Points, bool ShowsMarks = false);
