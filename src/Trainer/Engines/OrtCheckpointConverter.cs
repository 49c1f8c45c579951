using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;

namespace OrtQLoRA.Trainer.Engines;

/// <summary>
/// Converts between an engine's state and checkpoints of ONNX Runtime's on-device training: weights, AdamW's moments, number of
/// steps. A run can so go on with the other engine, or a phone's training on a server.
/// </summary>
public static class OrtCheckpointConverter
{
    /// <summary>Property that holds the number of training passes, from which our graphs draw dropout masks.</summary>
    private const string PassesProperty = "ortqlora.passes";

    private static readonly (string State, string Moment)[] AdamWStates =
        [(AdamWOptimizer.FirstMoment, OptimizerGroupState.FirstMoment), (AdamWOptimizer.SecondMoment, OptimizerGroupState.SecondMoment)];

    /// <summary>The state that a checkpoint holds. A checkpoint without the optimizer's state gives zero moments and steps.</summary>
    /// <param name="checkpoint">The checkpoint; its tensors are copied.</param>
    /// <param name="optimizerStates">Names of the optimizer's states: AdamW's two, or none for SGD.</param>
    /// <exception cref="ModelFormatException">The checkpoint is nominal, or lacks moments of a parameter.</exception>
    public static EngineState ToEngineState(OrtCheckpoint checkpoint, IReadOnlyList<string> optimizerStates)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        if (checkpoint.IsNominal)
        {
            throw new ModelFormatException("The checkpoint is nominal: it names parameters without values. Save one from a session that has loaded them.");
        }

        OptimizerGroupState? group = checkpoint.OptimizerGroups.FirstOrDefault(g => g.Name == ParameterGroup.DefaultName);
        return new EngineState(
            group?.Step ?? 0,
            checkpoint.Properties.GetValueOrDefault(PassesProperty) is long passes ? passes : 0,
            checkpoint.Trainable.ToDictionary(p => p.Name, p => Copy(p.Value!), StringComparer.Ordinal),
            optimizerStates.ToDictionary(
                s => s,
                s => (IReadOnlyDictionary<string, DenseTensor>)checkpoint.Trainable.ToDictionary(p => p.Name, p => Moment(p, MomentOf(s), group), StringComparer.Ordinal)));
    }

    /// <summary>A checkpoint with a state's parameters, moments and steps.</summary>
    /// <param name="state">The state.</param>
    /// <param name="frozen">Weights that are not trained but lie in the checkpoint too; none by default.</param>
    /// <param name="initialLearningRate">Rate that the runtime's own scheduler starts from.</param>
    public static OrtCheckpoint ToCheckpoint(
        EngineState state, IReadOnlyList<CheckpointParameter>? frozen = null, float initialLearningRate = OptimizerGroupState.DefaultLearningRate)
    {
        ArgumentNullException.ThrowIfNull(state);
        Dictionary<string, IReadOnlyDictionary<string, ITensor>> moments = new(StringComparer.Ordinal);
        foreach ((string name, DenseTensor value) in state.Parameters)
        {
            // SGD's operator keeps no state, but the session asks for a first moment of each parameter.
            moments[name] = state.OptimizerStates.Count == 0
                ? new Dictionary<string, ITensor> { [OptimizerGroupState.FirstMoment] = Zeros(value) }
                : state.OptimizerStates.ToDictionary(s => MomentOf(s.Key), s => (ITensor)s.Value[name]);
        }

        return new OrtCheckpoint
        {
            Trainable = [.. state.Parameters.Select(p => CheckpointParameter.Of(p.Key, p.Value))],
            Frozen = frozen ?? [],
            OptimizerGroups = [new OptimizerGroupState(ParameterGroup.DefaultName, state.CompletedSteps, initialLearningRate, moments)],
            Properties = new Dictionary<string, object> { [PassesProperty] = state.CompletedPasses },
        };
    }

    private static string MomentOf(string state)
    {
        foreach ((string name, string moment) in AdamWStates)
        {
            if (name == state)
            {
                return moment;
            }
        }

        throw new ModelFormatException(
            $"The optimizer state '{state}' has no place in a checkpoint of ONNX Runtime, which holds AdamW's {string.Join(" and ", AdamWStates.Select(s => s.State))}. Train with adamw.");
    }

    private static DenseTensor Moment(CheckpointParameter parameter, string moment, OptimizerGroupState? group)
    {
        if (group is null || group.Moments.Count == 0)
        {
            return Zeros(parameter.Value!);
        }

        if (!group.Moments.TryGetValue(parameter.Name, out IReadOnlyDictionary<string, ITensor>? moments) || !moments.TryGetValue(moment, out ITensor? value))
        {
            throw new ModelFormatException($"The checkpoint has an optimizer state, but no '{moment}' of '{parameter.Name}' in it. It was saved by another optimizer, or is damaged.");
        }

        return value.Dims.AsSpan().SequenceEqual(parameter.Value!.Dims.AsSpan())
            ? Copy(value)
            : throw new ModelFormatException($"'{moment}' of '{parameter.Name}' has the shape [{string.Join(", ", value.Dims)}]; the parameter has [{string.Join(", ", parameter.Value.Dims)}].");
    }

    private static DenseTensor Copy(ITensor tensor) => new(tensor.ElementType, tensor.Dims, tensor.ToBytes());

    private static DenseTensor Zeros(ITensor like) => new(like.ElementType, like.Dims, new byte[like.ByteLength]);
}
