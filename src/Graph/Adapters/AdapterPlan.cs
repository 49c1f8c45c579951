using OrtQLoRA.Graph.Export;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>What an adapter method does to one model: tensors it adds, weights it trains, and how both enter the graph and leave it.</summary>
public abstract class AdapterPlan
{
    /// <summary>Creates a plan.</summary>
    protected AdapterPlan(AdapterConfig config)
    {
        Config = config;
    }

    /// <summary>The configuration, with <c>all-linear</c> replaced by the modules that it means here.</summary>
    public AdapterConfig Config { get; }

    /// <summary>Tensors that are added and trained.</summary>
    public virtual IReadOnlyList<AdapterTensor> Tensors => [];

    /// <summary>Weights of the base model that are trained.</summary>
    public virtual IReadOnlyList<TrainedWeight> TrainedWeights => [];

    /// <summary>Weights of the base model that PEFT writes though they are not trained.</summary>
    public virtual IReadOnlyList<SavedWeight> SavedWeights => [];

    /// <summary>Further keys under which PEFT writes a trained weight: key to the key whose values it repeats.</summary>
    public virtual IReadOnlyDictionary<string, string> Duplicates => new Dictionary<string, string>();

    /// <summary>Positions that the method puts in front of the tokens in the model's outputs (prompt tuning); labels do not count there.</summary>
    public virtual int VirtualTokens => 0;

    /// <summary>Modules whose inputs the method's start looks at (EVA, CorDA); empty for most.</summary>
    public virtual IReadOnlyList<string> ObservedModules => [];

    /// <summary>The configuration once the inputs are known: EVA redistributes ranks.</summary>
    public virtual AdapterConfig ConfigFor(ILayerStatistics statistics) => Config;

    /// <summary>What has to be done after each optimizer step, or null; a new object for each training run.</summary>
    public virtual IAdapterTrainingHook? CreateTrainingHook() => null;

    /// <summary>
    /// Changes weights of the base before anything else, for methods whose start does (PiSSA and its kin), and computes the
    /// adapter's first tensors where they come from the same decomposition.
    /// </summary>
    public virtual void Prepare(BasePreparation preparation)
    {
    }

    /// <summary>The adapter in the form of its file, where that differs from the trained tensors (AdaLoRA leaves out pruned rows).</summary>
    public virtual AdapterWeights ToFile(AdapterWeights weights) => weights;

    /// <summary>
    /// Adds the method's branches to the graph. The inputs for <see cref="Tensors"/> exist already, and the trained
    /// weights are inputs too.
    /// </summary>
    public virtual void Insert(AdapterInsertionContext context)
    {
    }

    /// <summary>Why the method cannot be expressed in the model's weights at all, and what to do instead; null if it can.</summary>
    public virtual string? MergeObstacle => null;

    /// <summary>Adds the method's changes to the weights of a model. Trained weights are replaced by the caller.</summary>
    /// <exception cref="ConfigurationException">A change cannot be expressed in the model's weights.</exception>
    public virtual void Merge(WeightMerge merge)
    {
    }
}
