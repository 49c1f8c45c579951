using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>What <see cref="LinearFinder"/> found in a model: sites, modules and named parameters.</summary>
public sealed class LinearSites
{
    private readonly Dictionary<string, LinearModule> _modules;

    internal LinearSites(OnnxModel model, IReadOnlyList<LinearSite> sites)
    {
        Model = model;
        Sites = sites;
        Modules = [.. sites.GroupBy(s => (s.ModulePath, s.Kind)).Select(g => new LinearModule([.. g]))];
        _modules = Modules.ToDictionary(m => m.Path, StringComparer.Ordinal);
        Parameters = ParameterFinder.Find(model, this);
    }

    /// <summary>The model that was searched.</summary>
    public OnnxModel Model { get; }

    /// <summary>Every place where a constant weight is applied, in execution order.</summary>
    public IReadOnlyList<LinearSite> Sites { get; }

    /// <summary>The modules, in the order of their first site.</summary>
    public IReadOnlyList<LinearModule> Modules { get; }

    /// <summary>
    /// Every named float parameter of the model: weights and biases of the modules, then those of other layers (norms,
    /// learned vectors). Buffers such as rotary frequencies and anonymous constants are left out.
    /// </summary>
    public IReadOnlyList<ModelParameter> Parameters { get; }

    /// <summary>The module at a path, or null.</summary>
    public LinearModule? Find(string modulePath) => _modules.GetValueOrDefault(modulePath);

    /// <summary>Paths of all modules, containers and norms included: every prefix of a parameter's name.</summary>
    public IReadOnlyCollection<string> ModulePaths()
    {
        HashSet<string> paths = new(StringComparer.Ordinal);
        foreach (string name in Parameters.Select(p => p.Name).Concat(Modules.Select(m => m.Path + ".weight")))
        {
            for (int dot = name.LastIndexOf('.'); dot > 0 && paths.Add(name[..dot]); dot = name.LastIndexOf('.', dot - 1))
            {
            }
        }

        return paths;
    }
}
