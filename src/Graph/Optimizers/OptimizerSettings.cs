namespace OrtQLoRA.Graph.Optimizers;

/// <summary>Hyperparameters that optimizers draw from; each takes those it knows. Defaults are PyTorch's.</summary>
public sealed record OptimizerSettings
{
    /// <summary>AdamW's eps if none is set; LoRA-FA then takes its own, 1e-6.</summary>
    public const double DefaultEps = 1e-8;

    /// <summary>Which optimizer: a name in <see cref="OptimizerRegistry"/>.</summary>
    public string Name { get; init; } = "adamw";

    /// <summary>Weight decay; null takes PyTorch's default of the optimizer (0.01 for AdamW, 0 for SGD).</summary>
    public double? WeightDecay { get; init; }

    /// <summary>Decay of AdamW's first moment.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of AdamW's second moment.</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>Added to AdamW's denominator.</summary>
    public double Eps { get; init; } = DefaultEps;

    /// <summary>SGD's momentum.</summary>
    public double Momentum { get; init; }

    /// <summary>SGD's dampening.</summary>
    public double Dampening { get; init; }

    /// <summary>Whether SGD uses Nesterov momentum.</summary>
    public bool Nesterov { get; init; }

    /// <summary>Faults of the settings, each with the value given and the values allowed; empty if there are none.</summary>
    public IEnumerable<string> Faults()
    {
        if (!OptimizerRegistry.Names.Contains(Name))
        {
            yield return $"The optimizer is '{Name}'; known are {string.Join(", ", OptimizerRegistry.Names)}.";
        }

        foreach ((string name, double value) in new[] { ("beta1", Beta1), ("beta2", Beta2) })
        {
            if (value is not (>= 0 and < 1))
            {
                yield return $"AdamW's {name} is {value}; it must be at least 0 and below 1.";
            }
        }

        if (!(Eps >= 0 && double.IsFinite(Eps)))
        {
            yield return $"AdamW's eps is {Eps}; it must be a finite number, 0 or more.";
        }

        if (WeightDecay is double decay && !(decay >= 0 && double.IsFinite(decay)))
        {
            yield return $"The weight decay is {decay}; it must be a finite number, 0 or more.";
        }

        if (!(Momentum >= 0 && double.IsFinite(Momentum)))
        {
            yield return $"SGD's momentum is {Momentum}; it must be a finite number, 0 or more.";
        }

        if (!double.IsFinite(Dampening))
        {
            yield return $"SGD's dampening is {Dampening}; it must be a finite number.";
        }

        if (Nesterov && (Momentum <= 0 || Dampening != 0))
        {
            yield return $"Nesterov momentum asks for a momentum above 0 and no dampening, not momentum {Momentum} and dampening {Dampening}.";
        }
    }
}
