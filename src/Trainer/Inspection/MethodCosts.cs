using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Inspection;

/// <summary>Counts what adapter methods would train, from their plans alone: nothing is built or run.</summary>
public static class MethodCosts
{
    /// <summary>Names of all methods, as <c>--method</c> takes them.</summary>
    public static IReadOnlyList<string> Names => MethodNames.Known;

    /// <summary>Names of the settings that belong to single methods.</summary>
    public static IEnumerable<string> OptionNames => MethodOptionCatalog.All.Select(o => o.Name);

    /// <summary>The cost of the method that options name.</summary>
    /// <param name="sites">The model's layers in <see cref="TrainingForm"/>.</param>
    /// <param name="options">Method and settings.</param>
    /// <exception cref="ConfigurationException">The settings are wrong, mean nothing to the method, or do not fit the model.</exception>
    public static MethodCost Of(LinearSites sites, TrainingOptions options) => Of(sites, options, NameOf(options), refusesForeign: true);

    /// <summary>The cost of another method with the same settings, as far as it knows them.</summary>
    /// <param name="sites">The model's layers in <see cref="TrainingForm"/>.</param>
    /// <param name="options">The settings.</param>
    /// <param name="method">The method's name.</param>
    /// <exception cref="ConfigurationException">The method needs further settings, or does not fit the model.</exception>
    public static MethodCost Of(LinearSites sites, TrainingOptions options, string method)
    {
        ArgumentNullException.ThrowIfNull(options);
        TrainingOptions copy = options.Copy();
        copy.Adapter = null;
        copy.InitAdapter = null;
        MethodNames.Apply(copy, method);
        return Of(sites, copy, method, refusesForeign: false);
    }

    private static MethodCost Of(LinearSites sites, TrainingOptions options, string name, bool refusesForeign)
    {
        ArgumentNullException.ThrowIfNull(sites);
        using AdapterSettings settings = AdapterSettings.Create(options, refusesForeign);
        AdapterPlan plan = settings.Method.Plan(sites, settings.Config);
        long ofBase = plan.TrainedWeights.Sum(w => w.Parameter.Content.ElementCount());
        long trained = plan.Tensors.Where(t => t.IsTrained).Sum(t => t.ElementCount) + ofBase;
        long frozen = plan.Tensors.Where(t => !t.IsTrained).Sum(t => t.ElementCount);
        long states = OptimizerRegistry.Create(options.Optimizer).States.Sum(s => s.ByteCount(trained));
        int modules = sites.Modules.Count(m => plan.Tensors.Any(t => t.Name.StartsWith(m.Path + ".", StringComparison.Ordinal)));
        return new MethodCost(name, modules, trained, ofBase, frozen, (sizeof(float) * ((2L * trained) + frozen)) + states, plan.MergeObstacle is null);
    }

    private static string NameOf(TrainingOptions options)
    {
        using AdapterSettings settings = AdapterSettings.Create(options);
        return options.Method ?? settings.Method.Name;
    }
}
