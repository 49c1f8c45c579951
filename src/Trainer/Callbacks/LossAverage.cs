namespace OrtQLoRA.Trainer.Callbacks;

/// <summary>
/// Exponential mean of losses for the eye: <c>m = 0.9 m + 0.1 loss</c>, divided by <c>1 - 0.9^n</c>, so that it starts at
/// the first loss.
/// </summary>
public sealed class LossAverage
{
    private const double Memory = 0.9;

    private double _mean;
    private double _weight;

    /// <summary>Takes a loss in; one that is not finite is left out.</summary>
    /// <returns>The mean; NaN before the first finite loss.</returns>
    public double Add(double loss)
    {
        if (double.IsFinite(loss))
        {
            _mean = (Memory * _mean) + ((1 - Memory) * loss);
            _weight = (Memory * _weight) + (1 - Memory);
        }

        return _weight > 0 ? _mean / _weight : double.NaN;
    }
}
