namespace OrtQLoRA.Graph.Adapters.Targets;

/// <summary>The keys of a PEFT configuration that decide which modules get an adapter.</summary>
public sealed record TargetOptions
{
    /// <summary><c>target_modules</c>.</summary>
    public required ModuleSelector TargetModules { get; init; }

    /// <summary><c>exclude_modules</c>: wins over the targets.</summary>
    public ModuleSelector? ExcludeModules { get; init; }

    /// <summary><c>modules_to_save</c>: modules that are trained whole and never get an adapter.</summary>
    public IReadOnlyList<string> ModulesToSave { get; init; } = [];

    /// <summary><c>layers_to_transform</c>: indices of the layers meant; null or empty for all.</summary>
    public IReadOnlyList<int>? LayersToTransform { get; init; }

    /// <summary><c>layers_pattern</c>: name of the list of layers; null or empty for any.</summary>
    public IReadOnlyList<string>? LayersPattern { get; init; }
}
