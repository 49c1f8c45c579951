namespace OrtQLoRA.Trainer.Data;

/// <summary>Numbers that an example gives for a graph input of the model's own, for example features or pixel values.</summary>
/// <param name="Dims">Dimensions of one example, without the batch.</param>
/// <param name="Values">Elements in row-major order.</param>
public sealed record ExampleTensor(long[] Dims, double[] Values);
