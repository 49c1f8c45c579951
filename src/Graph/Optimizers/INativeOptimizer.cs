namespace OrtQLoRA.Graph.Optimizers;

/// <summary>An optimizer whose update the native library also has as an operator of one pass over all tensors of a group.</summary>
public interface INativeOptimizer : IOptimizerDefinition
{
    /// <summary>Names of the native operators that <see cref="EmitNativeUpdate"/> emits; they must all be there.</summary>
    IReadOnlyList<string> NativeOperators { get; }

    /// <summary>
    /// Emits the update of one group with native operators, instead of <see cref="IOptimizerDefinition.EmitUpdate"/>, whose results it
    /// has but for rounding. <see cref="GroupUpdateContext.Shared"/> is empty.
    /// </summary>
    /// <param name="context">The group's vectors and scalars.</param>
    /// <returns>The new parameters and the new value of each state.</returns>
    GroupUpdate EmitNativeUpdate(GroupUpdateContext context);
}
