using OrtQLoRA.Graph.Optimizers;

namespace OrtQLoRA.Graph.Training;

/// <summary>
/// Where each parameter lies in the flat tensors of its group: parameters in order, each padded with zeros to a multiple
/// of <see cref="TrainingArtifacts.ArenaAlignment"/> elements, or of whole rows of the optimizer's states. The optimizer model and the engines share this layout.
/// </summary>
public sealed class ArenaLayout
{
    private ArenaLayout(IReadOnlyList<ArenaGroup> groups)
    {
        Groups = groups;
    }

    /// <summary>Groups that hold a parameter, in order.</summary>
    public IReadOnlyList<ArenaGroup> Groups { get; }

    /// <summary>Lays parameters out.</summary>
    /// <param name="parameters">Everything that is trained.</param>
    /// <param name="groups">Groups in order.</param>
    /// <param name="states">The optimizer's states; null for states that have no rows.</param>
    /// <exception cref="ConfigurationException">There are no parameters, or one names a group that does not exist.</exception>
    public static ArenaLayout Create(IReadOnlyList<TrainableParameter> parameters, IReadOnlyList<ParameterGroup> groups, IReadOnlyList<OptimizerState>? states = null)
    {
        HashSet<string> names = [.. groups.Select(g => g.Name)];
        string[] faults =
        [
            .. parameters.Count == 0 ? ["Nothing is trainable; choose target modules that the model has, or train all parameters."] : Array.Empty<string>(),
            .. parameters.Where(p => !names.Contains(p.Group))
                .Select(p => $"Parameter '{p.Name}' belongs to group '{p.Group}', which is not among {string.Join(", ", names)}."),
        ];
        if (faults.Length > 0)
        {
            throw new ConfigurationException(faults);
        }

        int alignment = states?.Max(s => s.BlockSize) ?? TrainingArtifacts.ArenaAlignment;
        return new ArenaLayout([.. groups.Select(g => Create(g, parameters.Where(p => p.Group == g.Name), alignment)).Where(g => g.Slots.Count > 0)]);
    }

    private static ArenaGroup Create(ParameterGroup group, IEnumerable<TrainableParameter> parameters, int alignment)
    {
        List<ArenaSlot> slots = [];
        long offset = 0;
        foreach (TrainableParameter parameter in parameters)
        {
            slots.Add(new ArenaSlot(parameter, offset));
            long end = checked(offset + parameter.ElementCount);
            offset = (end + alignment - 1) / alignment * alignment;
        }

        return new ArenaGroup(group, slots, offset);
    }
}
