using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>
/// Runs training artifacts. The methods are those of ONNX Runtime's training API: <see cref="TrainStep"/> adds a
/// micro-batch's gradients, <see cref="OptimizerStep"/> applies and <see cref="LazyResetGrad"/> forgets them. The training
/// loop knows no engine. Not safe for use from several threads at once.
/// </summary>
public interface ITrainingEngine : IDisposable
{
    /// <summary>Everything that training changes, in order.</summary>
    IReadOnlyList<TrainableParameter> Parameters { get; }

    /// <summary>Learning rate of the next <see cref="OptimizerStep"/>, before the factors of parameter groups.</summary>
    double LearningRate { get; set; }

    /// <summary>Number of optimizer steps that the present parameters and states have behind them.</summary>
    long CompletedSteps { get; }

    /// <summary>Memory of the GPU that sessions use; null on the processor, or where ONNX Runtime manages it alone.</summary>
    DeviceMemoryUsage? DeviceMemory => null;

    /// <summary>Runs forward and backward on one micro-batch and adds its gradients to the accumulated ones.</summary>
    /// <param name="inputs">A tensor for each of the artifacts' user inputs.</param>
    /// <param name="lossWeight">Factor of this micro-batch's gradients: 1/micro-batches, or its share of counted tokens.</param>
    /// <returns>The loss, not weighted.</returns>
    /// <exception cref="EngineException">The runtime refused the batch.</exception>
    double TrainStep(IReadOnlyDictionary<string, DenseTensor> inputs, double lossWeight = 1);

    /// <summary>Runs forward only, dropout off.</summary>
    /// <param name="inputs">A tensor for each of the artifacts' user inputs.</param>
    /// <param name="outputs">Names of the model's outputs to return besides the loss, for example <c>logits</c>.</param>
    /// <exception cref="EngineException">The runtime refused the batch, or the model has no such output.</exception>
    EvalStepResult EvalStep(IReadOnlyDictionary<string, DenseTensor> inputs, params IReadOnlyCollection<string> outputs);

    /// <summary>Clips the accumulated gradients and updates parameters and optimizer states in place.</summary>
    /// <returns>
    /// The norm of all gradients before clipping. If it is not finite, nothing was changed: parameters and states are
    /// those of the last good step.
    /// </returns>
    double OptimizerStep();

    /// <summary>
    /// Asks for smaller gradients after <see cref="OptimizerStep"/> found them not finite: engines that scale the loss for
    /// fp16 lower the scale, so that the same micro-batches may be tried again.
    /// </summary>
    /// <returns>Whether there is any use in trying again.</returns>
    bool ReduceLossScale() => false;

    /// <summary>Lets the next <see cref="TrainStep"/> start from zero gradients.</summary>
    void LazyResetGrad();

    /// <summary>The present value of a parameter, copied.</summary>
    /// <exception cref="ArgumentException">There is no such parameter.</exception>
    DenseTensor GetParameter(string name);

    /// <summary>Replaces the value of a parameter.</summary>
    /// <exception cref="ArgumentException">There is no such parameter, or the shape or type differs.</exception>
    void SetParameter(string name, ITensor value);

    /// <summary>The accumulated gradient of a parameter before clipping, copied.</summary>
    /// <exception cref="ArgumentException">There is no such parameter.</exception>
    DenseTensor GetGradient(string name);

    /// <summary>
    /// Parameters, optimizer states, and the numbers of steps and passes, copied: with the data from there on, all that it
    /// takes to go on to the same bits.
    /// </summary>
    EngineState SaveState();

    /// <summary>Continues from a saved state.</summary>
    /// <exception cref="Graph.ModelFormatException">The state belongs to other parameters or to another optimizer.</exception>
    void LoadState(EngineState state);
}
