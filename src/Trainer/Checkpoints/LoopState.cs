using System.Text.Json.Serialization;

namespace OrtQLoRA.Trainer.Checkpoints;

/// <summary>
/// Where a run stands, apart from the engine's tensors. Orders of examples, schedules and random numbers are functions of
/// the seed and these counts, so that nothing else has to be kept.
/// </summary>
internal sealed record LoopState
{
    /// <summary>Optimizer steps done.</summary>
    [JsonPropertyName("step")]
    public long Step { get; set; }

    /// <summary>The present pass over the data, from 0.</summary>
    [JsonPropertyName("epoch")]
    public long Epoch { get; set; }

    /// <summary>Windows of the present pass that are used up.</summary>
    [JsonPropertyName("window")]
    public long Window { get; set; }

    /// <summary>Exponential mean of the losses, without correction for its start at 0; tells spikes.</summary>
    [JsonPropertyName("loss_mean")]
    public double LossMean { get; set; }

    /// <summary>Losses in <see cref="LossMean"/>.</summary>
    [JsonPropertyName("loss_count")]
    public long LossCount { get; set; }

    /// <summary>Steps left out in a row, up to the present one.</summary>
    [JsonPropertyName("skipped_in_a_row")]
    public int SkippedInARow { get; set; }

    /// <summary>Lowest loss of an evaluation; null before the first.</summary>
    [JsonPropertyName("best_loss")]
    public double? BestLoss { get; set; }

    /// <summary>Step of the lowest loss.</summary>
    [JsonPropertyName("best_step")]
    public long BestStep { get; set; }

    /// <summary>Whether the run ended before its last step because evaluations showed no more gain.</summary>
    [JsonPropertyName("ended_early")]
    public bool EndedEarly { get; set; }

    /// <summary>Evaluations since the last that was better than the best before it.</summary>
    [JsonPropertyName("evaluations_without_gain")]
    public int EvaluationsWithoutGain { get; set; }
}
