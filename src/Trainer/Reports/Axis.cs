namespace OrtQLoRA.Trainer.Reports;

/// <summary>The range of an axis.</summary>
/// <param name="Low">Lowest value.</param>
/// <param name="High">Highest value, above the lowest.</param>
internal readonly record struct Axis(double Low, double High)
{
    /// <summary>Extent, as a share of the values themselves, below which differences are rounding: ticks so close would not differ as numbers.</summary>
    private const double SmallestExtent = 1e-9;

    internal double Span => High - Low;

    /// <summary>An axis over a range; a range without extent is widened.</summary>
    internal static Axis Of(double low, double high) => high - low > SmallestExtent * Math.Max(Math.Abs(low), Math.Abs(high))
        ? new Axis(low, high)
        : new Axis(low - (Math.Abs(low) * 0.1) - 1e-9, high + (Math.Abs(high) * 0.1) + 1e-9);

    /// <summary>The axis widened to whole ticks.</summary>
    internal Axis Rounded()
    {
        double step = StepOf(Span / 5);
        return new Axis(Math.Floor(Low / step) * step, Math.Ceiling(High / step) * step);
    }

    /// <summary>Where a value lies: 0 at the low end, 1 at the high end.</summary>
    internal double Share(double value) => (value - Low) / Span;

    /// <summary>Round values within the range, about as many as asked for.</summary>
    internal IEnumerable<double> Ticks(int count)
    {
        double step = StepOf(Span / count);
        for (double i = Math.Ceiling((Low / step) - 1e-9); i * step <= High + (step * 1e-9); i++)
        {
            yield return i == 0 ? 0 : i * step;
        }
    }

    /// <summary>1, 2 or 5 times a power of ten, nearest above a length.</summary>
    private static double StepOf(double length)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(length)));
        return (length / power) switch
        {
            <= 1 => power,
            <= 2 => 2 * power,
            <= 5 => 5 * power,
            _ => 10 * power,
        };
    }
}
