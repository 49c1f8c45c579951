using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>Work of an adapter method between optimizer steps, for example AdaLoRA's allocation of ranks.</summary>
public interface IAdapterTrainingHook
{
    /// <summary>Called before the first micro-batch of each step.</summary>
    /// <param name="parameters">The present parameters; there are no gradients yet.</param>
    void BeforeStep(IAdapterParameters parameters);

    /// <summary>Called after each optimizer step, before gradients are forgotten.</summary>
    /// <param name="step">Number of the step, from 1.</param>
    /// <param name="totalSteps">Steps of the whole run.</param>
    /// <param name="parameters">The updated parameters and the step's gradients.</param>
    void AfterStep(long step, long totalSteps, IAdapterParameters parameters);

    /// <summary>What a checkpoint must hold so that a resumed run equals the uninterrupted one: tensors by name.</summary>
    IReadOnlyDictionary<string, ITensor> SaveState();

    /// <summary>Continues from a saved state.</summary>
    /// <exception cref="ModelFormatException">The state belongs to another adapter.</exception>
    void LoadState(IReadOnlyDictionary<string, ITensor> state);
}
