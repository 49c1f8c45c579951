using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>
/// An optimizer as graph: which state it keeps and how it updates a flat vector of parameters. Everything around that
/// (norm, clipping, groups, naming, in-place checks) is done by <see cref="OptimizerModelBuilder"/>. A new optimizer is
/// one class of this interface and one line in <see cref="OptimizerRegistry"/>.
/// </summary>
public interface IOptimizerDefinition
{
    /// <summary>Name under which it is chosen, for example <c>adamw</c>.</summary>
    string Name { get; }

    /// <summary>What it keeps from step to step, zero at the start.</summary>
    IReadOnlyList<OptimizerState> States { get; }

    /// <summary>Weight decay of groups that set none of their own.</summary>
    double WeightDecay { get; }

    /// <summary>Emits scalars that all groups share, for example bias corrections; called once before any group.</summary>
    /// <param name="context">Builder, step and learning rate.</param>
    /// <returns>Values to find again in <see cref="GroupUpdateContext.Shared"/>.</returns>
    IReadOnlyDictionary<string, Value> EmitShared(OptimizerContext context);

    /// <summary>
    /// Emits the update of one group. A vector that is replaced in place must be read only by the node that makes its
    /// replacement or by nodes before that one on the path to it; see <see cref="InPlaceUpdateVerifier"/>.
    /// </summary>
    /// <param name="context">The group's vectors and scalars.</param>
    /// <returns>The new parameters and the new value of each state.</returns>
    GroupUpdate EmitUpdate(GroupUpdateContext context);
}
