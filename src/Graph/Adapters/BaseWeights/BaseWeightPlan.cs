using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.BaseWeights;

/// <summary>Training of chosen weights of the base model; nothing is added to the graph.</summary>
internal sealed class BaseWeightPlan : AdapterPlan
{
    private BaseWeightPlan(AdapterConfig config, IReadOnlyList<TrainedWeight> weights)
        : base(config)
    {
        TrainedWeights = weights;
    }

    public override IReadOnlyList<TrainedWeight> TrainedWeights { get; }

    /// <summary>A plan that trains the chosen parameters and the modules to save.</summary>
    /// <param name="method">Name of the method, for messages.</param>
    /// <param name="sites">The model.</param>
    /// <param name="config">Options.</param>
    /// <param name="isChosen">The method's own choice.</param>
    /// <exception cref="ConfigurationException">Nothing is left to train.</exception>
    public static BaseWeightPlan Create(string method, LinearSites sites, AdapterConfig config, Func<ModelParameter, bool> isChosen)
    {
        if (config is not BaseWeightConfig options)
        {
            throw new ArgumentException($"Method '{method}' takes a {nameof(BaseWeightConfig)}, not a {config?.GetType().Name}.", nameof(config));
        }

        Func<string, bool> isNamed = options.CreateMatcher();
        HashSet<ModelParameter> saved = [.. SavedModules.Find(sites, options.AllModulesToSave).Select(s => s.Parameter)];
        ModelParameter[] meant = [.. sites.Parameters.Where(p => saved.Contains(p) || (options.IsMethodsChoice ? isChosen(p) : isNamed(p.Name)))];

        // Tied parameters are one tensor in PyTorch too, listed under the first of their names, whether the exporter wrote
        // one initializer or two.
        ILookup<ModelParameter, ModelParameter> ties = TiedWeights.Find(sites);
        HashSet<ModelParameter> followers = [.. meant.SelectMany(p => ties[p])];
        List<TrainedWeight> weights = [];
        HashSet<Value> trained = [];
        foreach (ModelParameter parameter in meant.Where(p => !followers.Contains(p) && trained.Add(p.Value)))
        {
            weights.Add(new TrainedWeight(parameter, parameter.Name, IsCopy: false) { Tied = [.. ties[parameter]] });
        }

        if (weights.Count == 0)
        {
            throw new ConfigurationException(
                $"Method '{method}' finds nothing to train{(options.Parameters is null ? "" : $": no parameter matches '{options.Parameters}'")}. The model's parameters: {string.Join(", ", sites.Parameters.Take(12).Select(p => p.Name))}{(sites.Parameters.Count > 12 ? ", ..." : "")}.");
        }

        return new BaseWeightPlan(options, weights);
    }
}
