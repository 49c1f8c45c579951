namespace OrtQLoRA.Trainer.Engines;

/// <summary>
/// Dynamic loss scaling for fp16, whose smallest number is 6e-8: gradients pass the graph multiplied by a scale that is
/// halved when they overflow and doubled after many steps without that (PyTorch's <c>GradScaler</c>, its defaults).
/// </summary>
internal sealed class LossScaler
{
    private const double FirstScale = 65536;
    private const double LargestScale = 16777216;
    private const long GrowthInterval = 2000;

    /// <summary>The present scale, a power of two.</summary>
    internal double Scale { get; private set; } = FirstScale;

    /// <summary>Steps without overflow since the scale last changed.</summary>
    internal long GoodSteps { get; private set; }

    /// <summary>A step's gradients were finite.</summary>
    internal void Succeed()
    {
        GoodSteps++;
        if (GoodSteps == GrowthInterval)
        {
            Scale = Math.Min(2 * Scale, LargestScale);
            GoodSteps = 0;
        }
    }

    /// <summary>A step's gradients were not finite: halves the scale.</summary>
    /// <returns>False if the scale is 1 already, so that it cannot have been the reason.</returns>
    internal bool Reduce()
    {
        if (Scale <= 1)
        {
            return false;
        }

        Scale /= 2;
        GoodSteps = 0;
        return true;
    }

    /// <summary>Goes on from a saved state.</summary>
    internal void Restore(double scale, long goodSteps)
    {
        Scale = scale;
        GoodSteps = goodSteps;
    }
}
