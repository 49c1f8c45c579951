using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>The parameters of a run as <see cref="IAdapterTrainingHook"/> sees them, by name.</summary>
public interface IAdapterParameters
{
    /// <summary>The present value of a parameter, copied.</summary>
    DenseTensor Value(string name);

    /// <summary>The step's gradient of a parameter as the optimizer took it: summed over micro-batches and clipped.</summary>
    DenseTensor Gradient(string name);

    /// <summary>Replaces a parameter's value.</summary>
    void SetValue(string name, ITensor value);
}
