using OrtQLoRA.Graph.Training.OrtTraining;

namespace OrtQLoRA.Trainer.Artifacts;

/// <summary>What was written.</summary>
/// <param name="Files">The files.</param>
/// <param name="UserInputs">What the caller feeds at each step, in order.</param>
/// <param name="Outputs">Outputs of the eval model, in order; the training model has the first.</param>
/// <param name="TrainableTensors">Number of trained tensors.</param>
/// <param name="TrainableParameters">Number of trained numbers.</param>
/// <param name="FrozenTensors">Number of frozen tensors in the checkpoint.</param>
/// <param name="Bytes">Size of all files.</param>
/// <param name="Remarks">What a program on the target has to know.</param>
public sealed record ArtifactSummary(
    OrtArtifactFiles Files,
    IReadOnlyList<string> UserInputs,
    IReadOnlyList<string> Outputs,
    int TrainableTensors,
    long TrainableParameters,
    int FrozenTensors,
    long Bytes,
    IReadOnlyList<string> Remarks);
