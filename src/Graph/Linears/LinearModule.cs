using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Linears;

/// <summary>
/// A linear layer, embedding or convolution of the model: one weight under one module path, applied at one or more
/// sites. Layers that share their weights (ALBERT) are one module here as they are in PyTorch, and get one adapter.
/// An embedding and an output head that share an initializer (tied weights) are two modules.
/// </summary>
public sealed class LinearModule
{
    /// <summary>Creates a module from its sites.</summary>
    /// <param name="sites">At least one site; all of the same path, kind and weight.</param>
    public LinearModule(IReadOnlyList<LinearSite> sites)
    {
        ArgumentOutOfRangeException.ThrowIfZero(sites.Count);
        Sites = sites;
    }

    /// <summary>Where the weight is applied, in execution order.</summary>
    public IReadOnlyList<LinearSite> Sites { get; }

    /// <summary>Module path, unique in the model.</summary>
    public string Path => Sites[0].ModulePath;

    /// <summary>How the weight is applied.</summary>
    public LinearKind Kind => Sites[0].Kind;

    /// <summary>The value that holds the weight.</summary>
    public Value Weight => Sites[0].Weight;

    /// <summary>The part of <see cref="Weight"/> that is this module's; null for all of it.</summary>
    public WeightSlice? Slice => Sites[0].Slice;

    /// <summary>The value that holds the bias, or null.</summary>
    public Value? Bias => Sites[0].Bias;

    /// <summary>In which form the weight lies in the model.</summary>
    public WeightStorage Storage => Sites[0].Storage;

    /// <summary>Number of input features; the vocabulary size for an embedding.</summary>
    public long InFeatures => Sites[0].InFeatures;

    /// <summary>Number of output features.</summary>
    public long OutFeatures => Sites[0].OutFeatures;

    /// <summary>Whether this is the head that makes the model's logits.</summary>
    public bool IsOutputHead => Sites.Any(s => s.IsOutputHead);

    /// <inheritdoc/>
    public override string ToString() => Sites[0].ToString();
}
