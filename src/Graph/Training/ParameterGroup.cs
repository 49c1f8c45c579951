namespace OrtQLoRA.Graph.Training;

/// <summary>Parameters that share hyperparameters of the optimizer, as PyTorch's parameter groups.</summary>
/// <param name="Name">Name of the group.</param>
/// <param name="LearningRateFactor">Multiplies the scheduled learning rate; 1 by default.</param>
/// <param name="WeightDecay">Decoupled weight decay; null takes the optimizer's.</param>
public sealed record ParameterGroup(string Name, double LearningRateFactor = 1, double? WeightDecay = null)
{
    /// <summary>Name of the group that holds everything not put elsewhere.</summary>
    public const string DefaultName = "group0";
}
