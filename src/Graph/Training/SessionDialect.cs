using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;

namespace OrtQLoRA.Graph.Training;

/// <summary>
/// The dialect <c>session</c>, described at <see cref="TrainingArtifacts"/>: plain graphs for inference sessions, in which an engine
/// binds each updated tensor to the memory of the old one.
/// </summary>
public sealed class SessionDialect : ArtifactDialect
{
    private SessionDialect()
    {
    }

    /// <summary>The dialect.</summary>
    public static SessionDialect Instance { get; } = new();

    /// <inheritdoc/>
    public override string Name => "session";

    internal override Value AddLossWeight(OnnxGraph graph) => graph.AddInput(ArtifactNames.LossWeight, DataType.Float, Shape.Scalar);

    internal override void Accumulate(OnnxModel model, GraphBuilder builder, IReadOnlyList<(Value Parameter, Value Gradient)> gradients)
    {
        foreach ((Value parameter, Value gradient) in gradients)
        {
            Value buffer = builder.Graph.AddInput(ArtifactNames.AccumulationBuffer(parameter.Name), parameter.Type);
            Value sum = builder.Add(buffer, gradient);
            sum.Name = ArtifactNames.AccumulationOutput(parameter.Name);
            sum.Type = parameter.Type;
            builder.Graph.AddOutput(sum);
        }
    }

    internal override OnnxModel BuildOptimizer(
        IOptimizerDefinition optimizer,
        IReadOnlyList<TrainableParameter> parameters,
        IReadOnlyList<ParameterGroup> groups,
        double maxGradNorm,
        Func<string, bool>? isNative) =>
        OptimizerModelBuilder.Build(optimizer, parameters, groups, maxGradNorm, isNative);

    internal override void Finish(TrainingArtifacts artifacts, OnnxModel original)
    {
    }
}
