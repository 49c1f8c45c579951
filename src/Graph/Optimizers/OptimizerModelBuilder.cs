using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Graph.Optimizers;

/// <summary>
/// Builds the optimizer model described at <see cref="TrainingArtifacts"/>: the norm of all gradients, clipping, and
/// each group's update on flat vectors, so that the number of nodes does not grow with the number of parameters.
/// </summary>
/// <remarks>
/// The engine binds every <c>.out</c> output to its input's memory. That is safe because each reader of a vector is an
/// ancestor of the node that overwrites it, which <see cref="InPlaceUpdateVerifier"/> checks for every optimizer.
/// Gradients are only read. Clipping is PyTorch's <c>clip_grad_norm_</c>: min(1, max_norm / (norm + 1e-6)).
/// </remarks>
public static class OptimizerModelBuilder
{
    /// <summary>Operator set of the model: the lowest in which every operator used has its present form.</summary>
    private const long OperatorSet = 18;

    /// <summary>The native operator that sums squares in float64.</summary>
    private const string SquaredNorm = "SquaredNorm";

    /// <summary>Added to the norm before it divides, as in PyTorch's <c>clip_grad_norm_</c>.</summary>
    private const double ClipEpsilon = 1e-6;

    /// <summary>Builds the model.</summary>
    /// <param name="optimizer">Update rule and state.</param>
    /// <param name="parameters">Everything that is trained.</param>
    /// <param name="groups">Groups in order; groups without parameters have no inputs.</param>
    /// <param name="maxGradNorm">Norm to which gradients are clipped; 0 does not clip.</param>
    /// <param name="isNative">Whether a native operator may be used, by name; null uses standard operators alone.</param>
    /// <exception cref="ConfigurationException">A parameter names no group, nothing is trained, or the norm is negative.</exception>
    public static OnnxModel Build(
        IOptimizerDefinition optimizer,
        IReadOnlyList<TrainableParameter> parameters,
        IReadOnlyList<ParameterGroup> groups,
        double maxGradNorm = 0,
        Func<string, bool>? isNative = null)
    {
        ArenaLayout layout = ArenaLayout.Create(parameters, groups, optimizer.States);
        if (!(maxGradNorm >= 0) || double.IsInfinity(maxGradNorm))
        {
            throw new ConfigurationException($"The maximal gradient norm is {maxGradNorm}; it must be a finite number, or 0 for no clipping.");
        }

        OnnxGraph graph = new("optimizer");
        OnnxModel model = new(graph) { Opset = OperatorSet };
        GraphBuilder builder = new(graph, OperatorSet);
        Value rate = graph.AddInput(ArtifactNames.LearningRate, DataType.Float, Shape.Scalar);
        Value step = graph.AddInput(ArtifactNames.Step, DataType.Int64, Shape.Scalar);
        GroupInputs[] inputs = [.. layout.Groups.Select(g => GroupInputs.Add(graph, g, optimizer.States))];

        bool isNormNative = isNative?.Invoke(SquaredNorm) == true;
        INativeOptimizer? native = isNative is not null && optimizer is INativeOptimizer candidate && candidate.NativeOperators.All(isNative) ? candidate : null;
        if (isNormNative || native is not null)
        {
            model.OpsetImports[OperatorDomains.OrtQLoRA] = OperatorDomains.OrtQLoRAVersion;
        }

        Value norm = isNormNative ? EmitNativeNorm(builder, inputs) : EmitNorm(builder, inputs);
        Value? scale = maxGradNorm == 0 ? null : EmitClipFactor(builder, norm, maxGradNorm);
        OptimizerContext context = new(builder, builder.Cast(step, DataType.Double), builder.Cast(rate, DataType.Double)) { StepNumber = step };
        IReadOnlyDictionary<string, Value> shared = native is null ? optimizer.EmitShared(context) : new Dictionary<string, Value>();
        Output(graph, norm, ArtifactNames.GradientNorm);
        foreach (GroupInputs group in inputs)
        {
            builder.Scope = group.Group.Name + "/";
            GroupUpdateContext groupContext = new()
            {
                Optimizer = context,
                Shared = shared,
                Parameters = group.Parameters,
                Gradients = Precondition(builder, group, layout),
                GradientScale = scale,
                States = group.States,
                LearningRate = group.Group.LearningRateFactor == 1
                    ? context.LearningRate
                    : builder.Mul(context.LearningRate, context.Constant(group.Group.LearningRateFactor)),
                WeightDecay = group.Group.WeightDecay ?? optimizer.WeightDecay,
            };
            GroupUpdate update = native?.EmitNativeUpdate(groupContext) ?? optimizer.EmitUpdate(groupContext);
            Replace(graph, group.Parameters, update.Parameters);
            foreach (OptimizerState state in optimizer.States)
            {
                Replace(graph, group.States[state.Name], update.States[state.Name]);
            }
        }

        new DeadNodeEliminationPass().Run(model);
        return model;
    }

    /// <summary>Square root of the sum of squares over all groups, float scalar.</summary>
    private static Value EmitNorm(GraphBuilder builder, IReadOnlyList<GroupInputs> groups)
    {
        builder.Scope = "norm/";
        Value[] squares = [.. groups.Select(g => builder.Op("ReduceSumSquare", [g.Gradients], ("keepdims", 0L)))];
        Value sum = squares.Length == 1 ? squares[0] : builder.Op("Sum", squares);
        return builder.Op("Sqrt", [sum]);
    }

    /// <summary>The same from sums in float64, each in one pass.</summary>
    private static Value EmitNativeNorm(GraphBuilder builder, IReadOnlyList<GroupInputs> groups)
    {
        builder.Scope = "norm/";
        Value[] squares = [.. groups.Select(g => builder.Emit(SquaredNorm, OperatorDomains.OrtQLoRA, [g.Gradients], 1).Outputs[0])];
        return builder.Cast(builder.Op("Sqrt", [squares.Aggregate(builder.Add)]), DataType.Float);
    }

    /// <summary>min(1, max_norm / (norm + 1e-6)), double scalar.</summary>
    private static Value EmitClipFactor(GraphBuilder builder, Value norm, double maxGradNorm)
    {
        Value denominator = builder.Add(builder.Cast(norm, DataType.Double), builder.Scalar(ClipEpsilon));
        return builder.Op("Min", [builder.Div(builder.Scalar(maxGradNorm), denominator), builder.Scalar(1.0)]);
    }

    // Each parameter's part of the flat gradient as a matrix, times its own preconditioner; the padding between stays zero.
    private static Value Precondition(GraphBuilder builder, GroupInputs group, ArenaLayout layout)
    {
        ArenaGroup arena = layout.Groups.First(g => g.Group.Name == group.Group.Name);
        if (arena.Slots.All(s => s.Parameter.Preconditioner is null))
        {
            return group.Gradients;
        }

        List<Value> parts = [];
        for (int i = 0; i < arena.Slots.Count; i++)
        {
            ArenaSlot slot = arena.Slots[i];
            long end = i + 1 < arena.Slots.Count ? arena.Slots[i + 1].Offset : arena.Length;
            if (slot.Parameter.Preconditioner is not { } matrix)
            {
                parts.Add(Part(slot.Offset, end));
                continue;
            }

            Value rows = builder.Reshape(Part(slot.Offset, slot.Offset + slot.Parameter.ElementCount), -1, matrix.Dims[0]);
            parts.Add(builder.Reshape(builder.MatMul(rows, builder.Constant(DenseTensor.Of([.. matrix.Dims], matrix.ToFloats()))), -1));
            if (end > slot.Offset + slot.Parameter.ElementCount)
            {
                parts.Add(Part(slot.Offset + slot.Parameter.ElementCount, end));
            }
        }

        return parts.Count == 1 ? parts[0] : builder.Concat(0, parts);

        Value Part(long from, long to) => builder.Op("Slice", [group.Gradients, builder.Int64s(from), builder.Int64s(to)]);
    }

    private static void Replace(OnnxGraph graph, Value input, Value replacement)
    {
        InPlaceUpdateVerifier.Verify(input, replacement);
        Output(graph, replacement, ArtifactNames.Updated(input.Name));
    }

    private static void Output(OnnxGraph graph, Value value, string name)
    {
        value.Name = name;
        graph.AddOutput(value);
    }

    private sealed record GroupInputs(ParameterGroup Group, Value Parameters, Value Gradients, IReadOnlyDictionary<string, Value> States)
    {
        public static GroupInputs Add(OnnxGraph graph, ArenaGroup group, IReadOnlyList<OptimizerState> states)
        {
            Shape shape = Shape.Of(group.Length);
            string name = group.Group.Name;
            Value parameters = graph.AddInput(ArtifactNames.GroupParameters(name), DataType.Float, shape);
            Value gradients = graph.AddInput(ArtifactNames.GroupGradients(name), DataType.Float, shape);
            return new GroupInputs(
                group.Group,
                parameters,
                gradients,
                states.ToDictionary(s => s.Name, s => graph.AddInput(ArtifactNames.GroupState(s.Name, name), s.Type, s.ShapeOf(group.Length))));
        }
    }
}
