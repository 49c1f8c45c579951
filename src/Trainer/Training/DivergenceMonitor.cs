using OrtQLoRA.Trainer.Checkpoints;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Tells whether a loss is out of line with those before it.</summary>
internal sealed class DivergenceMonitor
{
    /// <summary>Steps left out in a row after which a run that skips ends all the same.</summary>
    internal const int MostInARow = 10;

    /// <summary>Share of the running mean that a step keeps: a memory of some 20 steps.</summary>
    private const double Memory = 0.95;

    /// <summary>Losses that must have been seen before one can stand out.</summary>
    private const int FirstLosses = 20;

    private readonly double? _factor;
    private readonly LoopState _state;

    internal DivergenceMonitor(TrainingOptions options, LoopState state)
    {
        _factor = options.SpikeFactor;
        _state = state;
    }

    /// <summary>The running mean of losses.</summary>
    private double Mean => _state.LossMean / (1 - Math.Pow(Memory, _state.LossCount));

    /// <summary>What is wrong with a loss, to go after "The loss of step 3 is"; null if nothing is.</summary>
    internal string? FaultOf(double loss) =>
        !double.IsFinite(loss) ? $"{loss}"
        : _factor is double factor && _state.LossCount >= FirstLosses && loss > factor * Mean ? $"{loss:G5}, more than {factor} times the mean of the steps before, {Mean:G5}"
        : null;

    /// <summary>Takes the loss of a good step into account.</summary>
    internal void Accept(double loss)
    {
        _state.LossMean = (Memory * _state.LossMean) + ((1 - Memory) * loss);
        _state.LossCount++;
        _state.SkippedInARow = 0;
    }
}
