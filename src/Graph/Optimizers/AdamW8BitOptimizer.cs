using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>
/// <see cref="AdamWOptimizer"/> with moments of 8 bits, a quarter of its state. Moments are kept in rows of 128 elements with one float scale a row, the
/// largest magnitude in it:
/// <code>
/// m = scale_m * c|c| / 127^2     c int8  = round(127 sqrt(|m| / scale_m)) * sign(m)
/// v = scale_v * (c / 255)^4      c uint8 = max(1, round(255 (v / scale_v)^(1/4)))
/// </code>
/// Steps of a root's size keep small moments beside large ones: m down to 1 / 65,000 and the root of v down to 1 / 65,025 of a row's largest.
/// v never becomes 0, by whose root an update is divided. Each step restores the moments, updates them and the parameters in float as AdamW does, and
/// rounds the moments again; nothing is drawn at random.
/// </summary>
/// <remarks>Block-wise scales after Dettmers et al. 2021 (arXiv 2110.02861), with roots in place of their table of values.</remarks>
public sealed class AdamW8BitOptimizer : IOptimizerDefinition
{
    /// <summary>Name under which it is chosen.</summary>
    public const string OptimizerName = "adamw-8bit";

    /// <summary>Elements that share a scale.</summary>
    public const int BlockSize = 128;

    private const string FirstLevel = "exp_avg_8bit";
    private const string FirstScale = "exp_avg_scale";
    private const string SecondLevel = "exp_avg_sq_8bit";
    private const string SecondScale = "exp_avg_sq_scale";
    private const float FirstLevels = 127;
    private const float SecondLevels = 255;

    // The scale of a row of zeros.
    private const float LeastScale = 1e-37f;

    private readonly AdamWOptimizer _adam;

    /// <summary>Creates it.</summary>
    /// <param name="adam">Its hyperparameters.</param>
    public AdamW8BitOptimizer(AdamWOptimizer adam)
    {
        _adam = adam;
    }

    /// <inheritdoc/>
    public string Name => OptimizerName;

    /// <inheritdoc/>
    public double WeightDecay => _adam.WeightDecay;

    /// <inheritdoc/>
    public IReadOnlyList<OptimizerState> States { get; } =
    [
        new(FirstLevel) { Type = DataType.Int8, BlockSize = BlockSize },
        new(FirstScale) { BlockSize = BlockSize, IsPerBlock = true },
        new(SecondLevel) { Type = DataType.UInt8, BlockSize = BlockSize },
        new(SecondScale) { BlockSize = BlockSize, IsPerBlock = true },
    ];

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Value> EmitShared(OptimizerContext context) => _adam.EmitShared(context);

    /// <inheritdoc/>
    public GroupUpdate EmitUpdate(GroupUpdateContext context)
    {
        GraphBuilder b = context.Builder;
        GroupUpdate update = _adam.EmitUpdate(context.With(new Dictionary<string, Value>
        {
            [AdamWOptimizer.FirstMoment] = Flat(b, RestoreFirst(b, context.States)),
            [AdamWOptimizer.SecondMoment] = Flat(b, RestoreSecond(b, context.States)),
        }));
        (Value first, Value firstScale) = RoundFirst(b, Rows(b, update.States[AdamWOptimizer.FirstMoment]));
        (Value second, Value secondScale) = RoundSecond(b, Rows(b, update.States[AdamWOptimizer.SecondMoment]));
        return new GroupUpdate(update.Parameters, new Dictionary<string, Value>
        {
            [FirstLevel] = first,
            [FirstScale] = firstScale,
            [SecondLevel] = second,
            [SecondScale] = secondScale,
        });
    }

    private static Value RestoreFirst(GraphBuilder b, IReadOnlyDictionary<string, Value> states)
    {
        Value root = b.Cast(states[FirstLevel], DataType.Float);
        Value unit = b.Mul(states[FirstScale], b.Scalar(1 / (FirstLevels * FirstLevels)));
        return b.Mul(b.Mul(root, b.Op("Abs", [root])), unit);
    }

    private static Value RestoreSecond(GraphBuilder b, IReadOnlyDictionary<string, Value> states)
    {
        Value root = b.Mul(b.Cast(states[SecondLevel], DataType.Float), b.Scalar(1 / SecondLevels));
        Value square = b.Mul(root, root);
        return b.Mul(b.Mul(square, square), states[SecondScale]);
    }

    private static (Value Rounded, Value Scale) RoundFirst(GraphBuilder b, Value rows)
    {
        Value magnitude = b.Op("Abs", [rows]);
        (Value share, Value scale) = Share(b, magnitude);
        Value level = b.Op("Round", [b.Mul(b.Op("Sqrt", [share]), b.Scalar(FirstLevels))]);
        return (b.Cast(b.Mul(level, b.Op("Sign", [rows])), DataType.Int8), scale);
    }

    private static (Value Rounded, Value Scale) RoundSecond(GraphBuilder b, Value rows)
    {
        (Value share, Value scale) = Share(b, rows);
        Value root = b.Op("Sqrt", [b.Op("Sqrt", [share])]);
        Value level = b.Op("Max", [b.Op("Round", [b.Mul(root, b.Scalar(SecondLevels))]), b.Scalar(1f)]);
        return (b.Cast(level, DataType.UInt8), scale);
    }

    // Each element as a share of its row's largest.
    private static (Value Share, Value Scale) Share(GraphBuilder b, Value magnitude)
    {
        Value scale = b.Op("Max", [b.Op("ReduceMax", [magnitude, b.Int64s(1)], ("keepdims", 1)), b.Scalar(LeastScale)]);
        return (b.Div(magnitude, scale), scale);
    }

    private static Value Rows(GraphBuilder b, Value flat) => b.Reshape(flat, -1, BlockSize);

    private static Value Flat(GraphBuilder b, Value rows) => b.Reshape(rows, -1);
}
