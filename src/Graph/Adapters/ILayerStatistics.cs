using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>What initializations that look at data (EVA, CorDA) need to know of a layer's inputs.</summary>
public interface ILayerStatistics
{
    /// <summary>
    /// Inputs of a module, one batch after the other: rows are positions [positions, in]. Padded positions are left out.
    /// </summary>
    /// <param name="modulePath">The module.</param>
    /// <param name="countedOnly">Whether positions whose label does not count are left out too.</param>
    /// <exception cref="ConfigurationException">The module was not recorded.</exception>
    IReadOnlyList<Matrix> Inputs(string modulePath, bool countedOnly);
}
