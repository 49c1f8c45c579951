namespace OrtQLoRA.Trainer.Schedules;

/// <summary>How the last part of <see cref="ScheduleKind.Wsd"/> falls; <c>x</c> is the share of it that is done.</summary>
public enum DecayKind
{
    /// <summary><c>(1 + cos(pi x)) / 2</c>.</summary>
    Cosine,

    /// <summary><c>1 - x</c>.</summary>
    Linear,

    /// <summary><c>1 - sqrt(x)</c> (Hägele et al., arXiv 2405.18392).</summary>
    OneMinusSqrt,
}
