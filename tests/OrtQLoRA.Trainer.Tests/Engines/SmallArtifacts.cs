using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Trainer.Tests.Engines;

/// <summary>
/// Artifacts made by hand, without gradient builder: <c>prediction = (x F) w + b</c> with a frozen F that is large enough to
/// be shared, and the mean squared error's gradient written out.
/// </summary>
internal static class SmallArtifacts
{
    internal const int Features = 40;
    internal const int Hidden = 30;

    internal static DenseTensor Frozen { get; } = DenseTensor.Of([Features, Hidden], Pattern(Features * Hidden, 3));

    internal static TrainingArtifacts Create(IOptimizerDefinition? optimizer = null, double maxGradNorm = 0, IReadOnlyList<ParameterGroup>? groups = null, bool isNative = false)
    {
        optimizer ??= new AdamWOptimizer();
        groups ??= [new ParameterGroup(ParameterGroup.DefaultName)];
        TrainableParameter[] parameters =
        [
            new() { Name = "w", InitialValue = DenseTensor.Of([Hidden, 1], Pattern(Hidden, 7)), Group = groups[0].Name },
            new() { Name = "b", InitialValue = DenseTensor.Vector(0.25f), Group = groups[^1].Name },
        ];
        return new TrainingArtifacts
        {
            TrainingModel = Training(),
            EvalModel = Eval(),
            OptimizerModel = OptimizerModelBuilder.Build(optimizer, parameters, groups, maxGradNorm, isNative ? _ => true : null),
            Parameters = parameters,
            Groups = groups,
            OptimizerStates = optimizer.States,
            UserInputs = ["x", ArtifactNames.Target],
        };
    }

    internal static Dictionary<string, DenseTensor> Batch(int rows, int seed) => new()
    {
        ["x"] = DenseTensor.Of([rows, Features], Pattern(rows * Features, seed)),
        [ArtifactNames.Target] = DenseTensor.Of([rows, 1], Pattern(rows, seed + 1)),
    };

    /// <summary>Numbers between -1 and 1 that depend on a seed only.</summary>
    internal static float[] Pattern(int count, int seed) => [.. Enumerable.Range(0, count).Select(i => MathF.Sin((i * 0.7f) + (seed * 1.3f)))];

    private static OnnxModel Training()
    {
        (OnnxGraph graph, GraphBuilder b, Value hidden, Value difference, Value loss) = Forward();
        Value weight = graph.AddInput(ArtifactNames.LossWeight, DataType.Float, Shape.Scalar);
        Value count = b.Cast(b.Op("Size", [difference]), DataType.Float);
        Value gradient = b.Mul(difference, b.Div(b.Mul(weight, b.Scalar(2f)), count));
        Accumulate(graph, b, "w", Shape.Of(Hidden, 1), b.Op("MatMul", [b.Op("Transpose", [hidden], ("perm", new long[] { 1, 0 })), gradient]));
        Accumulate(graph, b, "b", Shape.Of(1), b.ReduceSum(gradient, false, 0));
        graph.AddOutput(loss);
        return new OnnxModel(graph) { Opset = 21, IrVersion = 10 };
    }

    private static OnnxModel Eval()
    {
        (OnnxGraph graph, _, _, Value difference, Value loss) = Forward();
        graph.AddOutput(loss);
        graph.AddOutput(difference.Producer!.Inputs[0]!);
        return new OnnxModel(graph) { Opset = 21, IrVersion = 10 };
    }

    private static (OnnxGraph Graph, GraphBuilder Builder, Value Hidden, Value Difference, Value Loss) Forward()
    {
        OnnxGraph graph = new("regression");
        GraphBuilder b = new(graph, 21);
        Value x = graph.AddInput("x", DataType.Float, new Shape(Dimension.Of("batch"), Features));
        Value target = graph.AddInput(ArtifactNames.Target, DataType.Float, new Shape(Dimension.Of("batch"), 1));
        Value w = graph.AddInput("w", DataType.Float, Shape.Of(Hidden, 1));
        Value bias = graph.AddInput("b", DataType.Float, Shape.Of(1));
        Value hidden = b.Op("MatMul", [x, graph.AddInitializer("F", Frozen)]);
        Value prediction = b.Add(b.Op("MatMul", [hidden, w]), bias);
        prediction.Name = "prediction";
        Value difference = b.Sub(prediction, target);
        Value loss = b.ReduceMean(b.Mul(difference, difference), false, 0, 1);
        loss.Name = ArtifactNames.Loss;
        return (graph, b, hidden, difference, loss);
    }

    private static void Accumulate(OnnxGraph graph, GraphBuilder b, string parameter, Shape shape, Value gradient)
    {
        Value sum = b.Add(graph.AddInput(ArtifactNames.AccumulationBuffer(parameter), DataType.Float, shape), gradient);
        sum.Name = ArtifactNames.AccumulationOutput(parameter);
        graph.AddOutput(sum);
    }
}
