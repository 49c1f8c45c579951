using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;

namespace OrtQLoRA.Graph.Training;

/// <summary>
/// What graph building hands to an engine, here in the dialect <c>session</c>; for <c>ort-training</c> see
/// <see cref="OrtTraining.OrtTrainingDialect"/>. Training and eval models hold the frozen weights as
/// initializers of the same names with the same <see cref="ITensor"/> objects, so that an engine can share them.
/// </summary>
/// <remarks>
/// Inputs and outputs are found by name. Training model, inputs: <see cref="UserInputs"/>, <see cref="ArtifactNames.LossWeight"/>, every parameter, every
/// accumulation buffer; outputs: <see cref="ArtifactNames.Loss"/>, every accumulation output.
/// Eval model, inputs: user inputs, every parameter; outputs: the loss, then the original model's outputs.
/// Optimizer model, inputs: learning rate, step, and for each group its parameters, gradients and states as one flat
/// float tensor each (parameters in order, each padded with zeros to a multiple of <see cref="ArenaAlignment"/> elements, or to the rows of
/// compressed states, <see cref="OptimizerState"/>);
/// outputs: the gradient norm and each updated tensor under its input's name with <c>.out</c>.
/// </remarks>
public sealed class TrainingArtifacts : IDisposable
{
    /// <summary>Elements to a multiple of which each parameter is padded inside its group's flat tensors (64 bytes).</summary>
    public const int ArenaAlignment = 16;

    /// <summary>Forward, loss, backward and gradient accumulation.</summary>
    public required OnnxModel TrainingModel { get; init; }

    /// <summary>Forward and loss, dropout off.</summary>
    public required OnnxModel EvalModel { get; init; }

    /// <summary>Clipping and parameter update.</summary>
    public required OnnxModel OptimizerModel { get; init; }

    /// <summary>Everything that training changes, in order.</summary>
    public required IReadOnlyList<TrainableParameter> Parameters { get; init; }

    /// <summary>Parameter groups, in order.</summary>
    public required IReadOnlyList<ParameterGroup> Groups { get; init; }

    /// <summary>The optimizer's states, for example first and second moments.</summary>
    public required IReadOnlyList<OptimizerState> OptimizerStates { get; init; }

    /// <summary>What the caller feeds at each step: the model's own inputs, then labels or target.</summary>
    public required IReadOnlyList<string> UserInputs { get; init; }

    /// <summary>Frozen weights that are inputs of both models; none in the dialect <c>session</c>.</summary>
    public IReadOnlyList<FrozenParameter> FrozenParameters { get; internal set; } = [];

    /// <inheritdoc/>
    public void Dispose()
    {
        TrainingModel.Dispose();
        EvalModel.Dispose();
        OptimizerModel.Dispose();
    }
}
