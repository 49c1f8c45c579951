using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;

namespace OrtQLoRA.Graph.Training;

/// <summary>
/// What differs between the engines that artifacts are made for: where a micro-batch's weight comes from, how gradients are
/// accumulated, and what the optimizer model looks like.
/// </summary>
public abstract class ArtifactDialect
{
    /// <summary>Name of the dialect, for example <c>session</c>.</summary>
    public abstract string Name { get; }

    /// <summary>Adds to a training graph whatever multiplies the loss before its gradient is taken.</summary>
    /// <returns>A float scalar, or null to take the gradient of the loss itself.</returns>
    internal abstract Value? AddLossWeight(OnnxGraph graph);

    /// <summary>Adds the accumulation of gradients to a training graph whose only output is the loss.</summary>
    /// <param name="model">The training model.</param>
    /// <param name="builder">Emits at the end of its graph.</param>
    /// <param name="gradients">Each parameter's graph input with its gradient, in order.</param>
    internal abstract void Accumulate(OnnxModel model, GraphBuilder builder, IReadOnlyList<(Value Parameter, Value Gradient)> gradients);

    /// <summary>Builds the optimizer model; <paramref name="isNative"/> tells whether a native operator may be used, null that none may.</summary>
    /// <exception cref="ConfigurationException">The dialect has no such optimizer.</exception>
    internal abstract OnnxModel BuildOptimizer(
        IOptimizerDefinition optimizer,
        IReadOnlyList<TrainableParameter> parameters,
        IReadOnlyList<ParameterGroup> groups,
        double maxGradNorm,
        Func<string, bool>? isNative);

    /// <summary>Gives finished models their header and order of inputs, and refuses what the dialect's runtime does not know.</summary>
    /// <param name="artifacts">The artifacts; changed in place.</param>
    /// <param name="original">The model that they were made from.</param>
    /// <exception cref="ConfigurationException">The runtime knows an operator, a name or a type not.</exception>
    internal abstract void Finish(TrainingArtifacts artifacts, OnnxModel original);
}
