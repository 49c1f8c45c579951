using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Graph.Losses;

/// <summary>
/// Contrastive loss with in-batch negatives (Henderson et al., arXiv 1705.00652; multiple negatives ranking): rows are pooled
/// and normalised to e, logits are <c>scale * e_i · e_j</c> of each anchor i with every candidate j, and the loss is the mean
/// cross-entropy of the anchors' own candidates.
/// </summary>
/// <remarks>
/// Takes hidden states [rows, sequence, hidden], pooled here by the model's own <c>attention_mask</c>, or embeddings [rows,
/// hidden]. Labels [rows] are int64: for an anchor the row of its positive; <see cref="CrossEntropyLoss.IgnoreIndex"/> marks
/// a candidate. So one pass of the model serves both sides, and hard negatives are just further candidates.
/// </remarks>
public sealed class ContrastiveLoss : ILossHead
{
    /// <summary>Usual factor on cosines: a temperature of 0.05.</summary>
    public const double DefaultScale = 20;

    /// <summary>Lower bound of a vector's norm, as PyTorch's <c>normalize</c> has it.</summary>
    public const double SmallestNorm = 1e-12;

    /// <summary>The graph input by which tokens are pooled.</summary>
    public const string MaskInput = "attention_mask";

    private const string LossName = "embedding";
    private const double Excluded = -1e9;

    private readonly Pooling _pooling;
    private readonly double _scale;

    /// <summary>Creates the loss.</summary>
    /// <param name="pooling">How tokens become one vector.</param>
    /// <param name="scale">Factor on cosines, above 0.</param>
    public ContrastiveLoss(Pooling pooling = Pooling.Mean, double scale = DefaultScale)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(scale);
        _pooling = pooling;
        _scale = scale;
    }

    /// <inheritdoc/>
    public string Name => LossName;

    /// <inheritdoc/>
    public LossAttachment Attach(OnnxModel model, Value output)
    {
        if (!output.ElementType.IsFloatingPoint() || output.Shape is not { Rank: 2 or 3 } shape)
        {
            throw new GraphException(
                $"The loss '{Name}' needs hidden states [batch, sequence, hidden] or embeddings [batch, hidden], but output '{output}' is neither. Choose another output.");
        }

        OnnxGraph graph = model.Graph;
        LossNames.Free(graph, ArtifactNames.Labels, Name);
        LossNames.Free(graph, ArtifactNames.Loss, Name);
        Value labels = graph.AddInput(ArtifactNames.Labels, DataType.Int64, new Shape(shape.Take(1)));
        GraphBuilder b = new(graph, model.Opset) { Scope = "loss/" };
        Value states = b.Cast(output, DataType.Float);
        Value vectors = Normalize(b, shape.Rank == 3 ? Pool(b, states) : states);
        Value similarities = b.Mul(b.MatMul(vectors, b.Transpose(vectors, 1, 0)), _scale);
        Value isAnchor = b.Op("Not", [b.Op("Equal", [labels, b.Scalar(CrossEntropyLoss.IgnoreIndex)])]);
        Value logits = b.Where(b.Unsqueeze(isAnchor, 0), b.Scalar((float)Excluded), similarities);
        (Value loss, Value count) = CrossEntropyLoss.Mean(b, logits, labels);
        loss.Name = ArtifactNames.Loss;
        return new LossAttachment(loss, labels, count);
    }

    private Value Pool(GraphBuilder b, Value states)
    {
        if (_pooling == Pooling.Cls)
        {
            return b.Op("Gather", [states, b.Scalar(0L)], ("axis", 1));
        }

        Value? mask = b.Graph.Inputs.FirstOrDefault(i => i.Name == MaskInput);
        if (mask is null)
        {
            return _pooling == Pooling.Mean ? b.ReduceMean(states, false, 1) : b.Op("Gather", [states, b.Scalar(-1L)], ("axis", 1));
        }

        Value attended = b.Cast(mask, DataType.Float);
        Value count = b.ReduceSum(attended, true, 1);
        if (_pooling == Pooling.Last)
        {
            // The last attended token is the one at which the running count is complete.
            Value isLast = b.Op("Equal", [b.Op("CumSum", [attended, b.Scalar(1L)]), count]);
            return b.ReduceSum(b.Mul(states, b.Unsqueeze(b.Mul(b.Cast(isLast, DataType.Float), attended), -1)), false, 1);
        }

        Value sum = b.ReduceSum(b.Mul(states, b.Unsqueeze(attended, -1)), false, 1);
        return b.Div(sum, b.Op("Max", [count, b.Scalar(1e-9f)]));
    }

    private static Value Normalize(GraphBuilder b, Value vectors)
    {
        Value squares = b.ReduceSum(b.Mul(vectors, vectors), true, -1);
        return b.Div(vectors, b.Op("Sqrt", [b.Op("Max", [squares, b.Scalar((float)(SmallestNorm * SmallestNorm))])]));
    }
}
