using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Models of one operator, input <c>x</c> and output <c>y</c>, that work on whole blocks of floats.</summary>
internal static class BlockModels
{
    internal const string Input = "x";
    internal const string Output = "y";

    private const long OperatorSet = 18;

    /// <summary>y [n] = x [n].</summary>
    internal static OnnxModel Copy() => Build("copy", DataType.Float, new Shape(Dimension.Of("n")), (b, x) => b.Op("Identity", [x]));

    /// <summary>y: zeros in the shape x, int64 [1].</summary>
    internal static OnnxModel Zeros() => Build("zeros", DataType.Int64, Shape.Of(1), (b, x) => b.Op("ConstantOfShape", [x]));

    /// <summary>y []: the sum of squares of x [n].</summary>
    internal static OnnxModel SumOfSquares() =>
        Build("sum_of_squares", DataType.Float, new Shape(Dimension.Of("n")), (b, x) => b.Op("ReduceSumSquare", [x], ("keepdims", 0L)));

    private static OnnxModel Build(string name, DataType type, Shape shape, Func<GraphBuilder, Value, Value> emit)
    {
        OnnxGraph graph = new(name);
        OnnxModel model = new(graph) { Opset = OperatorSet };
        Value y = emit(new GraphBuilder(graph, OperatorSet), graph.AddInput(Input, type, shape));
        y.Name = Output;
        graph.AddOutput(y);
        return model;
    }
}
