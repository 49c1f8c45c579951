namespace OrtQLoRA.Graph.Training;

/// <summary>Names of graph inputs and outputs that the training artifacts and the engines agree on.</summary>
public static class ArtifactNames
{
    /// <summary>Input, float []: factor by which gradients are larger while they pass the graph in fp16; accumulated ones are not.</summary>
    public const string LossScale = "loss_scale";

    /// <summary>Output of the training and eval models: the loss, float scalar, mean over what is counted.</summary>
    public const string Loss = "loss";

    /// <summary>
    /// Input of the training model: float scalar by which the loss is multiplied before its gradient is taken
    /// (1/micro-batches for PyTorch's mean, counted/counted-in-window for a mean over tokens). The loss output is not scaled.
    /// </summary>
    public const string LossWeight = "loss_weight";

    /// <summary>
    /// Input of the training model: int64 scalar, the number of training passes before this one, from which random numbers
    /// inside the graph are drawn; there only if the graph draws any. See <see cref="PassRandom"/>.
    /// </summary>
    public const string Pass = "ortqlora.pass";

    /// <summary>Input of the training and eval models: the labels, int64, -100 is not counted.</summary>
    public const string Labels = "labels";

    /// <summary>Input of the training and eval models for regression: the values to reach.</summary>
    public const string Target = "target";

    /// <summary>Input of the training and eval models of packed data: int64 [batch, sequence], the number of each token's example in its row from 1, 0 for padding.</summary>
    public const string SegmentIds = "segment_ids";

    /// <summary>The same for the position of each token in its example; there only if the model counts positions itself.</summary>
    public const string SegmentPositions = "segment_positions";

    /// <summary>Input of the optimizer model: float scalar.</summary>
    public const string LearningRate = "learning_rate";

    /// <summary>Input of the optimizer model: int64 scalar, counted from 1.</summary>
    public const string Step = "step";

    /// <summary>Output of the optimizer model: float scalar, the norm of all gradients before clipping.</summary>
    public const string GradientNorm = "grad_norm";

    /// <summary>Input of the training model that holds a parameter's accumulated gradient.</summary>
    public static string AccumulationBuffer(string parameter) => parameter + "_grad.accumulation.buffer";

    /// <summary>Output of the training model: the buffer with this micro-batch's gradient added.</summary>
    public static string AccumulationOutput(string parameter) => parameter + "_grad.accumulation.out";

    /// <summary>Input of the optimizer model: all parameters of a group, one after the other, float [n].</summary>
    public static string GroupParameters(string group) => "params." + group;

    /// <summary>Input of the optimizer model: all accumulated gradients of a group, float [n].</summary>
    public static string GroupGradients(string group) => "gradients." + group;

    /// <summary>Input of the optimizer model: an optimizer state of a group, float [n].</summary>
    public static string GroupState(string state, string group) => state + "." + group;

    /// <summary>Output of the optimizer model that replaces an input, in the same memory.</summary>
    public static string Updated(string input) => input + ".out";
}
