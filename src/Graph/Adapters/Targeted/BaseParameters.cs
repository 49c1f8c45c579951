using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Targeted;

/// <summary>The base's own parameters that are trained beside an adapter, modules to save and biases, and how PEFT writes them.</summary>
internal sealed class BaseParameters
{
    private readonly IReadOnlyList<string> _modulesToSave;
    private readonly LinearSites _sites;
    private readonly List<TrainedWeight> _trained;
    private readonly List<SavedWeight> _saved = [];
    private readonly Dictionary<string, string> _duplicates = new(StringComparer.Ordinal);

    /// <summary>Finds them.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="sites">The model.</param>
    /// <param name="targets">The modules that the adapter acts on.</param>
    public BaseParameters(TargetedConfig config, LinearSites sites, IReadOnlyList<LinearModule> targets)
    {
        _modulesToSave = config.AllModulesToSave;
        _sites = sites;
        _trained = [.. SavedModules.Train(sites, _modulesToSave)];
        HashSet<ModelParameter> saved = [.. _trained.Select(w => w.Parameter)];
        HashSet<string> paths = [.. targets.Select(m => m.Path)];
        foreach (ModelParameter parameter in sites.Parameters)
        {
            bool isOfTarget = parameter.BiasOf is { } module && paths.Contains(module.Path);
            bool isTrained = config.Bias switch
            {
                // PEFT looks for the word anywhere in the name.
                TrainedBiases.All => parameter.Name.Contains("bias", StringComparison.Ordinal),
                TrainedBiases.Targets => isOfTarget,
                _ => false,
            };
            if (isTrained && saved.Contains(parameter))
            {
                AddDuplicates(parameter);
            }
            else if (isTrained)
            {
                string key = isOfTarget ? PeftKeys.OfBaseLayer(parameter.BiasOf!.Path, "bias") : PeftKeys.Of(parameter.Name);
                _trained.Add(new TrainedWeight(parameter, key, IsCopy: false));
            }
        }
    }

    /// <summary>What is trained.</summary>
    public IReadOnlyList<TrainedWeight> Trained => _trained;

    /// <summary>What PEFT writes besides.</summary>
    public IReadOnlyList<SavedWeight> Saved => _saved;

    /// <summary>Keys under which PEFT writes a trained weight again, with the key whose values they repeat.</summary>
    public IReadOnlyDictionary<string, string> Duplicates => _duplicates;

    // Where bias is 'all', PEFT's state dictionary lists the biases of a saved module three times over.
    private void AddDuplicates(ModelParameter parameter)
    {
        string module = SavedModules.Find(_sites, _modulesToSave).First(f => f.Parameter == parameter).ModulePath;
        string rest = parameter.Name[(module.Length + 1)..];

        // It takes the adapter's name out of a key only right before the parameter.
        string copy = rest.Contains('.', StringComparison.Ordinal) ? "modules_to_save.default" : "modules_to_save";
        _duplicates[PeftKeys.Of($"{module}.{copy}.{rest}")] = PeftKeys.Of(parameter.Name);
        _saved.Add(new SavedWeight(parameter, PeftKeys.Of($"{module}.original_module.{rest}")));
    }
}
