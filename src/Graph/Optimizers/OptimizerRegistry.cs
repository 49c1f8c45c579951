namespace OrtQLoRA.Graph.Optimizers;

/// <summary>The optimizers that can be chosen by name.</summary>
public static class OptimizerRegistry
{
    private static readonly Dictionary<string, Func<OptimizerSettings, IOptimizerDefinition>> Factories = new(StringComparer.Ordinal)
    {
        ["adamw"] = s => new AdamWOptimizer { Beta1 = s.Beta1, Beta2 = s.Beta2, Eps = s.Eps, WeightDecay = s.WeightDecay ?? 0.01 },
        [AdamW8BitOptimizer.OptimizerName] = s => new AdamW8BitOptimizer(new AdamWOptimizer { Beta1 = s.Beta1, Beta2 = s.Beta2, Eps = s.Eps, WeightDecay = s.WeightDecay ?? 0.01 }),
        [LoraFaOptimizer.OptimizerName] = s => new LoraFaOptimizer { Beta1 = s.Beta1, Beta2 = s.Beta2, Eps = s.Eps == OptimizerSettings.DefaultEps ? 1e-6 : s.Eps, WeightDecay = s.WeightDecay ?? 0 },
        ["sgd"] = s => new SgdOptimizer { Momentum = s.Momentum, Dampening = s.Dampening, Nesterov = s.Nesterov, WeightDecay = s.WeightDecay ?? 0 },
    };

    /// <summary>Known names.</summary>
    public static IReadOnlyCollection<string> Names => Factories.Keys;

    /// <summary>Creates an optimizer from its settings.</summary>
    /// <exception cref="ConfigurationException">The settings have faults; all are listed.</exception>
    public static IOptimizerDefinition Create(OptimizerSettings settings)
    {
        string[] faults = [.. settings.Faults()];
        return faults.Length == 0 ? Factories[settings.Name](settings) : throw new ConfigurationException(faults);
    }
}
