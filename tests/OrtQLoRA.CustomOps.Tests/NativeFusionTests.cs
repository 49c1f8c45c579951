using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.CustomOps.Tests;

/// <summary>Patterns that exporters write, fused, give the values and gradients that they give spelled out.</summary>
[TestClass]
public sealed class NativeFusionTests
{
    private const long Opset = 21;

    private static readonly Dictionary<string, (string Native, long[] Dims, Func<GraphBuilder, Value, Value> Emit)> Patterns = new()
    {
        ["rms norm, quotient"] = ("RmsNorm", [2, 5, 12], (b, x) => b.Mul(Row(b, 12), b.Div(x, Root(b, b.Mul(x, x), 1e-3f)))),
        ["rms norm, reciprocal"] = ("RmsNorm", [2, 5, 12], (b, x) => b.Mul(b.Mul(x, b.Op("Reciprocal", [Root(b, b.Mul(x, x), 1e-3f)])), Row(b, 12))),
        ["rms norm, one over"] = ("RmsNorm", [3, 7], (b, x) => b.Mul(Row(b, 7), b.Mul(b.Div(b.Scalar(1f), Root(b, b.Op("Pow", [x, b.Scalar(2f)]), 1e-3f)), x))),
        ["layer norm, operator"] = ("LayerNorm", [2, 5, 12], (b, x) => b.Op("LayerNormalization", [x, Row(b, 12), Row(b, 12)], ("axis", -1), ("epsilon", 1e-3f))),
        ["layer norm, spelled out"] = ("LayerNorm", [2, 5, 13], (b, x) => b.Add(b.Mul(Standardized(b, x), Row(b, 13)), Row(b, 13))),
        ["layer norm, without bias"] = ("LayerNorm", [4, 9], (b, x) => b.Mul(Row(b, 9), Standardized(b, x))),
        ["gelu, operator"] = ("Gelu", [2, 33], (b, x) => b.Op("Gelu", [x], ("approximate", "none"))),
        ["gelu, half last"] = ("Gelu", [2, 33], (b, x) => b.Mul(b.Mul(x, OnePlusErf(b, x)), b.Scalar(0.5f))),
        ["gelu, half first"] = ("Gelu", [2, 33], (b, x) => b.Mul(b.Mul(b.Scalar(0.5f), x), OnePlusErf(b, x))),
        ["gelu, tanh"] = ("Gelu", [2, 33], (b, x) => b.Mul(b.Mul(x, b.Scalar(0.5f)), b.Add(b.Scalar(1f), b.Op("Tanh", [b.Mul(b.Add(x, b.Mul(b.Op("Pow", [x, b.Scalar(3f)]), b.Scalar(0.044715f))), b.Scalar(0.7978845608f))])))),
        ["swiglu"] = ("SwiGlu", [2, 3, 17], (b, x) => b.Mul(b.Mul(x, b.Op("Sigmoid", [x])), b.Mul(x, x))),
        ["rotary, slices"] = ("Rotary", [2, 3, 5, 8], (b, x) => Rotation(b, x, isSplit: false)),
        ["rotary, split"] = ("Rotary", [2, 3, 5, 8], (b, x) => Rotation(b, x, isSplit: true)),
        ["attention, scaled scores"] = ("Attention", [2, 3, 7, 8], (b, x) => Attend(b, b.Mul(b.MatMul(x, b.Transpose(x, 0, 1, 3, 2)), b.Scalar(0.3f)), x)),
        ["attention, scaled operands"] = ("Attention", [2, 3, 7, 8], (b, x) => Attend(b, b.Add(b.MatMul(b.Mul(x, b.Scalar(0.5f)), b.Mul(b.Transpose(x, 0, 1, 3, 2), b.Scalar(0.5f))), Causal(b, 7)), x)),
        ["attention, chosen mask"] = ("Attention", [1, 2, 7, 8], (b, x) => Attend(b, b.Where(Seen(b, 7), b.Div(b.MatMul(x, b.Transpose(x, 0, 1, 3, 2)), b.Scalar(2f)), b.Scalar(-3e38f)), x)),
        ["attention, causal rule"] = ("Attention", [2, 3, 7, 8], (b, x) => Attend(b, b.Add(b.MatMul(x, b.Transpose(x, 0, 1, 3, 2)), CausalRule(b, 7, isPadded: false)), x)),
        ["attention, causal rule and padding"] = ("Attention", [2, 3, 7, 8], (b, x) => Attend(b, b.Add(b.MatMul(x, b.Transpose(x, 0, 1, 3, 2)), CausalRule(b, 7, isPadded: true)), x)),
        ["attention, positions first"] = ("Attention", [2, 5, 3, 8], (b, x) =>
        {
            Value heads = b.Transpose(x, 0, 2, 1, 3);
            Value y = Attend(b, b.MatMul(heads, b.Transpose(x, 0, 2, 3, 1)), heads);
            return b.Reshape(b.Transpose(y, 0, 2, 1, 3), 2, 5, 24);
        }
        ),
        ["attention, grouped queries"] = ("Attention", [2, 2, 5, 8], (b, x) =>
        {
            Value many = b.Reshape(b.Expand(b.Unsqueeze(x, 2), b.Int64s(2, 2, 3, 5, 8)), 2, 6, 5, 8);
            return Attend(b, b.MatMul(b.Concat(1, x, x, x), b.Transpose(many, 0, 1, 3, 2)), many);
        }
        ),
    };

    public static IEnumerable<object[]> Names => Patterns.Keys.Select(n => new object[] { n });

    [TestMethod]
    [DynamicData(nameof(Names))]
    public void Rewrite_ExportersPattern_GivesThePortableValuesAndGradients(string name)
    {
        CustomOpLibrary library = NativeLibraryUnderTest.Require();
        (string native, long[] dims, Func<GraphBuilder, Value, Value> emit) = Patterns[name];
        using OnnxModel portable = Build(dims, emit);
        using OnnxModel fused = Build(dims, emit);

        Assert.IsTrue(new NativeOperatorPass(Int8Compute.Fp32, ["x"]).Run(fused));

        Assert.AreEqual(1, fused.Graph.Nodes.Count(n => n.Is(native, OpCatalog.Domain)), "fused operators");
        Differentiate(portable, GradientRuleRegistry.CreateDefault());
        Differentiate(fused, NativeGradientRules.CreateRegistry());
        Assert.AreEqual(0, fused.Graph.Nodes.Count(n => n.OpType is "Softmax" or "Erf" or "Sqrt" or "LayerNormalization"), "operators left of the pattern");
        int count = (int)dims.Aggregate(1L, (n, d) => n * d);
        Dictionary<string, DenseTensor> feed = new() { ["x"] = DenseTensor.Of(dims, [.. Enumerable.Range(0, count).Select(i => MathF.Sin((i * 0.7f) + (i % 5)) + 0.1f)]) };
        using GraphRunner expected = new(portable, new EngineOptions());
        using GraphRunner actual = new(fused, new EngineOptions { CustomOps = library });
        foreach (string output in new[] { "loss", "x_gradient" })
        {
            TensorAssert.AreClose(expected.Run(feed, [output])[output].ToFloats(), actual.Run(feed, [output])[output].ToFloats(), 5e-5, output);
        }
    }

    [TestMethod]
    [DataRow(false, 3)]
    [DataRow(true, 4)]
    public void Rewrite_CausalRuleInMask_BecomesAnAttribute(bool isPadded, int inputs)
    {
        using OnnxModel model = Build([2, 3, 7, 8], (b, x) => Attend(b, b.Add(b.MatMul(x, b.Transpose(x, 0, 1, 3, 2)), CausalRule(b, 7, isPadded)), x));

        Assert.IsTrue(new NativeOperatorPass(Int8Compute.Fp32, ["x"]).Run(model));

        Node attention = model.Graph.Nodes.Single(n => n.Is("Attention", OpCatalog.Domain));
        Assert.AreEqual(1, attention.GetInt("causal", 0));
        Assert.HasCount(inputs, attention.Inputs);
        Assert.IsFalse(model.Graph.Nodes.Any(n => n.OpType is "Where" or "LessOrEqual"), "Nothing of queries by keys is made any more.");
    }

    [TestMethod]
    public void Rewrite_MaskOfWhatLiesAhead_StaysAMask()
    {
        // Keys at or behind the query are hidden: the rule turned around.
        using OnnxModel model = Build([2, 3, 7, 8], (b, x) =>
        {
            Value positions = Positions(b, 7);
            Value ahead = b.Op("LessOrEqual", [b.Unsqueeze(positions, 1), b.Unsqueeze(positions, 0)]);
            return Attend(b, b.Add(b.MatMul(x, b.Transpose(x, 0, 1, 3, 2)), b.Where(ahead, b.Scalar(0f), b.Scalar(float.MinValue))), x);
        });

        Assert.IsTrue(new NativeOperatorPass(Int8Compute.Fp32, ["x"]).Run(model));

        Node attention = model.Graph.Nodes.Single(n => n.Is("Attention", OpCatalog.Domain));
        Assert.AreEqual(0, attention.GetInt("causal", 0));
        Assert.HasCount(4, attention.Inputs);
    }

    [TestMethod]
    public void Rewrite_TrainedMask_StaysPortable()
    {
        OnnxGraph graph = new("bias");
        GraphBuilder b = new(graph, Opset);
        Value x = graph.AddInput("x", DataType.Float, Shape.Of(1, 2, 4, 8));
        Value bias = graph.AddInput("bias", DataType.Float, Shape.Of(2, 4, 4));
        Value y = b.Op("Identity", [Attend(b, b.Add(b.MatMul(x, b.Transpose(x, 0, 1, 3, 2)), bias), x)]);
        graph.AddOutput(y);
        using OnnxModel model = new(graph) { Opset = Opset, IrVersion = 10 };

        Assert.IsFalse(new NativeOperatorPass(Int8Compute.Fp32, ["bias"]).Run(model));
        Assert.IsTrue(new NativeOperatorPass(Int8Compute.Fp32, ["x"]).Run(model));
    }

    /// <summary>The sum over all outputs of a pattern, each with a weight of its own.</summary>
    private static OnnxModel Build(long[] dims, Func<GraphBuilder, Value, Value> emit)
    {
        OnnxGraph graph = new("pattern");
        GraphBuilder b = new(graph, Opset);
        Value x = graph.AddInput("x", DataType.Float, Shape.Of(dims));
        Value y = emit(b, x);
        long count = y.Shape!.ElementCount!.Value;
        Value weights = graph.AddInitializer("weights", DenseTensor.Of(y.Shape.ToArray(), [.. Enumerable.Range(0, (int)count).Select(i => MathF.Cos(i * 1.3f))]));
        Value loss = b.Op("ReduceSum", [b.Mul(y, weights)], ("keepdims", 0));
        loss.Name = "loss";
        graph.AddOutput(loss);
        return new OnnxModel(graph) { Opset = Opset, IrVersion = 10 };
    }

    private static void Differentiate(OnnxModel model, GradientRuleRegistry rules)
    {
        Value x = model.Graph.GetValue("x");
        Value gradient = GradientBuilder.Build(model, model.Graph.GetValue("loss"), null, [x], new GradientOptions { Rules = rules })[x];
        gradient.Name = "x_gradient";
        model.Graph.AddOutput(gradient);
        new DeadNodeEliminationPass().Run(model);
    }

    private static Value Row(GraphBuilder b, int size) => b.Constant(DenseTensor.Vector([.. Enumerable.Range(0, size).Select(i => 0.5f + MathF.Sin(i))]));

    private static Value Root(GraphBuilder b, Value squares, float epsilon) =>
        b.Op("Sqrt", [b.Add(b.ReduceMean(squares, true, -1), b.Scalar(epsilon))]);

    private static Value Standardized(GraphBuilder b, Value x)
    {
        Value centred = b.Sub(x, b.ReduceMean(x, true, -1));
        return b.Div(centred, Root(b, b.Mul(centred, centred), 1e-3f));
    }

    private static Value OnePlusErf(GraphBuilder b, Value x) => b.Add(b.Op("Erf", [b.Div(x, b.Scalar(MathF.Sqrt(2)))]), b.Scalar(1f));

    private static Value Attend(GraphBuilder b, Value scores, Value values) => b.MatMul(b.Op("Softmax", [scores], ("axis", -1)), values);

    private static Value Causal(GraphBuilder b, int size) => b.Constant(DenseTensor.Of(
        [1, 1, size, size], [.. Enumerable.Range(0, size * size).Select(i => i % size <= i / size ? 0f : float.MinValue)]));

    private static Value Positions(GraphBuilder b, long size) => b.Op("Range", [b.Scalar(0L), b.Scalar(size), b.Scalar(1L)]);

    /// <summary>The mask as exporters compute it from positions, the last key of the second row hidden if there is padding.</summary>
    private static Value CausalRule(GraphBuilder b, int size, bool isPadded)
    {
        Value positions = Positions(b, size);
        Value visible = b.Op("LessOrEqual", [b.Unsqueeze(positions, 0), b.Unsqueeze(positions, 1)]);
        if (isPadded)
        {
            bool[] present = [.. Enumerable.Range(0, 2 * size).Select(i => i != (2 * size) - 1)];
            visible = b.Op("And", [visible, b.Unsqueeze(b.Constant(DenseTensor.Of([2, size], present)), 1, 2)]);
        }

        return b.Where(visible, b.Scalar(0f), b.Scalar(float.MinValue));
    }

    private static Value Seen(GraphBuilder b, int size) => b.Constant(DenseTensor.Of(
        [1, 1, size, size], [.. Enumerable.Range(0, size * size).Select(i => i % size <= i / size)]));

    private static Value Rotation(GraphBuilder b, Value x, bool isSplit)
    {
        Value first;
        Value second;
        if (isSplit)
        {
            Node split = b.Emit("Split", "", [x], 2, ("axis", -1), ("num_outputs", 2));
            (first, second) = (split.Outputs[0], split.Outputs[1]);
        }
        else
        {
            first = b.Op("Slice", [x, b.Int64s(0), b.Int64s(4), b.Int64s(3), b.Int64s(1)]);
            second = b.Op("Slice", [x, b.Int64s(4), b.Int64s(long.MaxValue), b.Int64s(3), b.Int64s(1)]);
        }

        DenseTensor Angles(float start) => DenseTensor.Of([1, 1, 5, 8], [.. Enumerable.Range(0, 40).Select(i => MathF.Cos(start + i))]);
        Value turned = b.Concat(-1, b.Neg(second), first);
        return b.Add(b.Mul(x, b.Constant(Angles(0))), b.Mul(turned, b.Constant(Angles(1))));
    }
}
