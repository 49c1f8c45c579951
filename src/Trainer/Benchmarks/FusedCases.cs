using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>The fused operators beside the standard operators that each stands for, forward and with the gradient.</summary>
internal sealed class FusedCases
{
    private const long Opset = 21;
    private const float Epsilon = 1e-5f;

    private readonly OperatorBenchmarkOptions _options;

    internal FusedCases(OperatorBenchmarkOptions options)
    {
        _options = options;
    }

    private int Tokens => _options.Batch * _options.Length;

    private long[] Heads => [_options.Batch, _options.Heads, _options.Length, _options.Hidden / _options.Heads];

    internal IEnumerable<OperatorCase> Create()
    {
        long[] hidden = [_options.Batch, _options.Length, _options.Hidden];
        long[] mlp = [_options.Batch, _options.Length, _options.Mlp];
        return
        [
            .. Pair(OpCatalog.LoraLinear, OpCatalog.LoraLinearGrad, LoraShape, LoraInputs(), Lora, ["x", "A", "B"], [Tokens, _options.Mlp]),
            .. Pair(OpCatalog.RmsNorm, OpCatalog.RmsNormGrad, Text(hidden), Inputs(("x", hidden)), RmsNorm, ["x"], hidden),
            .. Pair(OpCatalog.LayerNorm, OpCatalog.LayerNormGrad, Text(hidden), Inputs(("x", hidden)), LayerNorm, ["x"], hidden),
            .. Pair(OpCatalog.SwiGlu, OpCatalog.SwiGluGrad, Text(mlp), Inputs(("gate", mlp), ("up", mlp)), SwiGlu, ["gate", "up"], mlp),
            .. Pair(OpCatalog.Gelu, OpCatalog.GeluGrad, Text(mlp), Inputs(("x", mlp)), Gelu, ["x"], mlp),
            .. Pair(OpCatalog.Rotary, OpCatalog.RotaryGrad, Text(Heads), Inputs(("x", Heads)), Rotary, ["x"], Heads),
            .. Pair(OpCatalog.Attention, OpCatalog.AttentionGrad, $"{Text(Heads)}, causal", Inputs(("q", Heads), ("k", Heads), ("v", Heads)), Attention, ["q", "k", "v"], Heads),
            CrossEntropy(),
            Optimizer(),
        ];
    }

    private string LoraShape => $"x [{Tokens}, {_options.Hidden}] W [{_options.Hidden}, {_options.Mlp}] rank {_options.Rank}";

    private static string Text(IEnumerable<long> dims) => $"[{string.Join(", ", dims)}]";

    private static Dictionary<string, DenseTensor> Inputs(params ReadOnlySpan<(string Name, long[] Dims)> inputs)
    {
        Dictionary<string, DenseTensor> feed = [];
        foreach ((string name, long[] dims) in inputs)
        {
            feed[name] = BenchmarkNumbers.Floats(1, dims);
        }

        return feed;
    }

    // Forward alone, then forward and gradient, each by standard and by native operators.
    private IEnumerable<OperatorCase> Pair(
        string forward,
        string gradient,
        string shape,
        Dictionary<string, DenseTensor> feed,
        Func<GraphBuilder, Func<string, Value>, Value> emit,
        IReadOnlyList<string> trained,
        long[] result)
    {
        FusedPattern pattern = new(() => Model(feed, emit), trained);
        yield return Case(pattern, [forward], withGradient: false, shape, feed);
        Dictionary<string, DenseTensor> both = new(feed) { [FusedPattern.OutputGradient] = BenchmarkNumbers.Floats(1, result) };
        yield return Case(pattern, [forward, gradient], withGradient: true, shape, both);
    }

    private OperatorCase Case(FusedPattern pattern, IReadOnlyList<string> operators, bool withGradient, string shape, Dictionary<string, DenseTensor> feed) => new(
        operators,
        shape,
        feed,
        [
            new("standard operators", false, () => pattern.Build([], withGradient, _options.FusedCompute)),
            new($"native, {OptionText.Name(_options.FusedCompute)}", true, () => pattern.Build(operators, withGradient, _options.FusedCompute)),
        ]);

    private static OnnxModel Model(Dictionary<string, DenseTensor> feed, Func<GraphBuilder, Func<string, Value>, Value> emit)
    {
        OnnxGraph graph = new("pattern");
        foreach ((string name, DenseTensor tensor) in feed)
        {
            graph.AddInput(name, DataType.Float, Shape.Of([.. tensor.Dims]));
        }

        Value y = emit(new GraphBuilder(graph, Opset), graph.GetValue);
        y.Name = FusedPattern.Output;
        graph.AddOutput(y);
        return new OnnxModel(graph) { Opset = Opset, IrVersion = 10 };
    }

    private Dictionary<string, DenseTensor> LoraInputs() => Inputs(
        ("x", [Tokens, _options.Hidden]), ("A", [_options.Rank, _options.Hidden]), ("B", [_options.Mlp, _options.Rank]));

    private Value Lora(GraphBuilder b, Func<string, Value> input)
    {
        BenchmarkWeight weight = new(_options.Hidden, _options.Mlp);
        Value dense = b.Op("DequantizeLinear", [b.Graph.AddInitializer("q", weight.Transposed), b.Graph.AddInitializer("scale", weight.Scale)], ("axis", 0));
        Value product = b.Op("Gemm", [input("x"), dense], ("transB", 1));
        Value narrow = b.Op("Gemm", [input("x"), input("A")], ("transB", 1), ("alpha", 2f));
        return b.Op("Gemm", [narrow, input("B"), product], ("transB", 1));
    }

    private Value Row(GraphBuilder b, string name) => b.Graph.AddInitializer(name, BenchmarkNumbers.Floats(1, _options.Hidden));

    private Value RmsNorm(GraphBuilder b, Func<string, Value> input)
    {
        Value x = input("x");
        return b.Mul(b.Div(x, Root(b, x)), Row(b, "weight"));
    }

    private Value LayerNorm(GraphBuilder b, Func<string, Value> input)
    {
        Value centred = b.Sub(input("x"), b.ReduceMean(input("x"), true, -1));
        return b.Add(b.Mul(b.Div(centred, Root(b, centred)), Row(b, "weight")), Row(b, "bias"));
    }

    private static Value Root(GraphBuilder b, Value x) => b.Op("Sqrt", [b.Add(b.ReduceMean(b.Mul(x, x), true, -1), b.Scalar(Epsilon))]);

    private static Value SwiGlu(GraphBuilder b, Func<string, Value> input) => b.Mul(b.Mul(input("gate"), b.Op("Sigmoid", [input("gate")])), input("up"));

    private static Value Gelu(GraphBuilder b, Func<string, Value> input)
    {
        Value x = input("x");
        return b.Mul(b.Mul(b.Scalar(0.5f), x), b.Add(b.Op("Erf", [b.Div(x, b.Scalar(MathF.Sqrt(2)))]), b.Scalar(1f)));
    }

    private Value Rotary(GraphBuilder b, Func<string, Value> input)
    {
        long half = Heads[3] / 2;
        Value x = input("x");
        Value first = b.Op("Slice", [x, b.Int64s(0), b.Int64s(half), b.Int64s(3), b.Int64s(1)]);
        Value second = b.Op("Slice", [x, b.Int64s(half), b.Int64s(long.MaxValue), b.Int64s(3), b.Int64s(1)]);
        Value Angles(string name) => b.Graph.AddInitializer(name, BenchmarkNumbers.Floats(1, 1, 1, _options.Length, Heads[3]));
        return b.Add(b.Mul(x, Angles("cos")), b.Mul(b.Concat(-1, b.Neg(second), first), Angles("sin")));
    }

    private Value Attention(GraphBuilder b, Func<string, Value> input)
    {
        int length = _options.Length;
        float[] mask = [.. Enumerable.Range(0, length * length).Select(i => i % length <= i / length ? 0f : float.MinValue)];
        Value scores = b.Mul(b.MatMul(input("q"), b.Transpose(input("k"), 0, 1, 3, 2)), b.Scalar(1 / MathF.Sqrt(Heads[3])));
        Value masked = b.Add(scores, b.Graph.AddInitializer("mask", DenseTensor.Of([1, 1, length, length], mask)));
        return b.MatMul(b.Op("Softmax", [masked], ("axis", -1)), input("v"));
    }

    // Only training fuses the head, and always asks for the gradient.
    private OperatorCase CrossEntropy()
    {
        Dictionary<string, DenseTensor> feed = new()
        {
            ["x"] = BenchmarkNumbers.Floats(1, Tokens, _options.Hidden),
            [ArtifactNames.Labels] = BenchmarkNumbers.Labels(_options.Vocabulary, Tokens),
        };
        OnnxModel Head()
        {
            OnnxGraph graph = new("head");
            GraphBuilder b = new(graph, Opset);
            Value x = graph.AddInput("x", DataType.Float, Shape.Of(Tokens, _options.Hidden));
            Value logits = b.MatMul(x, graph.AddInitializer("weight", BenchmarkNumbers.Floats(0.1, _options.Hidden, _options.Vocabulary)));
            OnnxModel model = new(graph) { Opset = Opset, IrVersion = 10 };
            graph.AddOutput(CrossEntropyLoss.Plain.Attach(model, logits).Loss);
            return model;
        }

        FusedPattern pattern = new(Head, ["x"], isLoss: true);
        string shape = $"x [{Tokens}, {_options.Hidden}] W [{_options.Hidden}, {_options.Vocabulary}]";
        return Case(pattern, [OpCatalog.LinearCrossEntropy], withGradient: true, $"{shape}, loss and dx", feed);
    }

    // The whole optimizer model: norm, clipping, update.
    private OperatorCase Optimizer()
    {
        const double MaxNorm = 1;
        int count = _options.Trained;
        DenseTensor start = BenchmarkNumbers.Floats(1, count);
        ParameterGroup group = new(ParameterGroup.DefaultName);
        TrainableParameter[] parameters = [new() { Name = "trained", InitialValue = start }];
        long length = ArenaLayout.Create(parameters, [group], new AdamWOptimizer().States).Groups[0].Length;
        Dictionary<string, DenseTensor> feed = new()
        {
            [ArtifactNames.LearningRate] = DenseTensor.Scalar(1e-4f),
            [ArtifactNames.Step] = DenseTensor.Scalar(10L),
            [ArtifactNames.GroupParameters(group.Name)] = BenchmarkNumbers.Floats(1, length),
            [ArtifactNames.GroupGradients(group.Name)] = BenchmarkNumbers.Floats(1, length),
            [ArtifactNames.GroupState(AdamWOptimizer.FirstMoment, group.Name)] = DenseTensor.Of([length], new float[length]),
            [ArtifactNames.GroupState(AdamWOptimizer.SecondMoment, group.Name)] = DenseTensor.Of([length], new float[length]),
        };
        return new OperatorCase(
            [OpCatalog.AdamW, OpCatalog.SquaredNorm],
            $"[{count}]",
            feed,
            [
                new("standard operators", false, () => OptimizerModelBuilder.Build(new AdamWOptimizer(), parameters, [group], MaxNorm)),
                new("native", true, () => OptimizerModelBuilder.Build(new AdamWOptimizer(), parameters, [group], MaxNorm, _ => true)),
            ]);
    }
}
