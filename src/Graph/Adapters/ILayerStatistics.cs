using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>What initializations that look at data (EVA, CorDA) need to know of a layer's inputs.</summary>
public interface ILayerStatistics
{
    /// <summary>
    /// Inputs of a module, one batch after the other: rows are positions [positions, in]. Padded positions, and those whose
    /// label does not count, are left out.
    /// </summary>
    /// <exception cref="ConfigurationException">The module was not recorded.</exception>
    IReadOnlyList<Matrix> Inputs(string modulePath);
}
