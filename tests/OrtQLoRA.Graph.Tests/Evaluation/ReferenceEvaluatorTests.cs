using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Tests.Evaluation.NodeRunner;

namespace OrtQLoRA.Graph.Tests.Evaluation;

[TestClass]
public sealed class ReferenceEvaluatorTests
{
    [TestMethod]
    public void Run_WantedInnerValue_ComputesOnlyWhatItNeeds()
    {
        (OnnxModel model, GraphBuilder builder, Value x) = NewModel();
        Value doubled = builder.Add(x, x);
        model.Graph.AddOutput(builder.Op("NoSuchOperator", [doubled]));
        ReferenceTensor result = new ReferenceEvaluator(model).Run(Feed(F([1], 2)), [doubled.Name])[doubled.Name];
        AreEqual(F([1], 4), result);
    }

    [TestMethod]
    public void Run_OperatorWithoutKernel_NamesOperatorNodeAndWayOut()
    {
        (OnnxModel model, GraphBuilder builder, Value x) = NewModel();
        Node node = builder.Emit("NoSuchOperator", "com.example", [x], 1);
        node.Name = "the_node";
        model.OpsetImports["com.example"] = 3;
        model.Graph.AddOutput(node.Outputs[0]);
        string message = Assert.ThrowsExactly<UnsupportedOpException>(() => new ReferenceEvaluator(model).Run(Feed(F([1], 2)))).Message;
        foreach (string part in new[] { "NoSuchOperator", "com.example", "the_node", "opset 3", nameof(KernelRegistry) })
        {
            StringAssert.Contains(message, part);
        }
    }

    [TestMethod]
    public void Run_RegisteredKernel_IsUsed()
    {
        (OnnxModel model, GraphBuilder builder, Value x) = NewModel();
        model.Graph.AddOutput(builder.Emit("Triple", "com.example", [x], 1).Outputs[0]);
        KernelRegistry kernels = new();
        kernels.Add("Triple", c => c.Input(0).WithFloats([.. c.Input(0).Floats.Select(v => 3 * v)]), "com.example");
        AreEqual(F([1], 6), new ReferenceEvaluator(model, kernels: kernels).Run(Feed(F([1], 2))).Values.Single());
    }

    [TestMethod]
    public void Run_InputNotFed_NamesIt()
    {
        (OnnxModel model, GraphBuilder builder, Value x) = NewModel();
        model.Graph.AddOutput(builder.Neg(x));
        StringAssert.Contains(Assert.ThrowsExactly<GraphException>(() => new ReferenceEvaluator(model).Run(new Dictionary<string, ReferenceTensor>())).Message, "'x");
    }

    [TestMethod]
    public void Run_FedInitializerOrInnerValue_TakesTheFeed()
    {
        (OnnxModel model, GraphBuilder builder, Value x) = NewModel();
        Value weight = model.Graph.AddInitializer("w", DenseTensor.Vector(10f));
        Value product = builder.Mul(x, weight);
        model.Graph.AddOutput(builder.Add(product, weight));
        ReferenceEvaluator evaluator = new(model);
        Dictionary<string, ReferenceTensor> feeds = Feed(F([1], 2));
        AreEqual(F([1], 30), evaluator.Run(feeds).Values.Single());
        feeds["w"] = F([1], 1);
        AreEqual(F([1], 3), evaluator.Run(feeds).Values.Single());
        feeds[product.Name] = F([1], 100);
        AreEqual(F([1], 101), evaluator.Run(feeds).Values.Single());
    }

    [TestMethod]
    public void Run_GraphInputWithDefault_NeedNotBeFed()
    {
        (OnnxModel model, GraphBuilder builder, Value x) = NewModel();
        Value weight = model.Graph.AddInitializer("w", DenseTensor.Vector(10f));
        model.Graph.MarkAsInput(weight);
        model.Graph.AddOutput(builder.Mul(x, weight));
        AreEqual(F([1], 20), new ReferenceEvaluator(model).Run(Feed(F([1], 2))).Values.Single());
    }

    [TestMethod]
    public void Run_ExactMode_KeepsFloat64WhateverTheDeclaredType()
    {
        (OnnxModel model, GraphBuilder builder, Value x) = NewModel();
        model.Graph.AddOutput(builder.Cast(builder.Add(builder.Cast(x, DataType.Float16), builder.Scalar((Half)1)), DataType.Float));
        Dictionary<string, ReferenceTensor> feeds = Feed(F([1], 1e-9));
        Assert.AreEqual(1 + 1e-9, new ReferenceEvaluator(model).Run(feeds).Values.Single().ToScalar());
        Assert.AreEqual(1.0, new ReferenceEvaluator(model, EvaluationMode.Typed).Run(feeds).Values.Single().ToScalar());
    }

    [TestMethod]
    [DataRow(true, 3.0)]
    [DataRow(false, 20.0)]
    public void Run_If_TakesBranchAndReadsOuterValues(bool condition, double expected)
    {
        (OnnxModel model, GraphBuilder builder, Value x) = NewModel();
        Value flag = model.Graph.AddInput("flag", DataType.Bool, Shape.Scalar);
        Value one = builder.Scalar(1f);
        Node node = builder.Graph.AddNode("If", [flag], "choose");
        node.SetAttribute("then_branch", NodeAttribute.Of(Branch(model.Graph, b => b.Add(x, one))));
        node.SetAttribute("else_branch", NodeAttribute.Of(Branch(model.Graph, b => b.Mul(x, b.Scalar(10f)))));
        model.Graph.AddOutput(node.AddOutput("y"));
        Dictionary<string, ReferenceTensor> feeds = Feed(F([1], 2));
        feeds["flag"] = B([], condition);
        AreEqual(F([1], expected), new ReferenceEvaluator(model).Run(feeds)["y"]);
    }

    /// <summary>y = LeakyRelu(x, alpha = the caller's slope or 0.5) * 2, called with, without and by another function.</summary>
    [TestMethod]
    public void Run_LocalFunctions_ResolveAttributesOfTheirCallers()
    {
        (OnnxModel model, GraphBuilder builder, Value x) = NewModel();
        model.OpsetImports["local"] = 1;
        OnnxGraph inner = new("inner");
        Value a = inner.AddInput("a", null);
        Node leaky = inner.AddNode("LeakyRelu", [a], "leaky");
        leaky.SetAttribute("alpha", NodeAttribute.Reference("slope", AttributeKind.Float));
        inner.AddOutput(leaky.AddOutput("b"));
        OnnxFunction innerFunction = new("local", "Inner", "", inner) { OpsetImports = { [""] = 18 } };
        innerFunction.OptionalAttributes["slope"] = 0.5f;

        OnnxGraph outer = new("outer");
        Value c = outer.AddInput("c", null);
        Node call = outer.AddNode("Inner", [c], "call", "local");
        call.SetAttribute("slope", NodeAttribute.Reference("steepness", AttributeKind.Float));
        outer.AddOutput(call.AddOutput("d"));
        OnnxFunction outerFunction = new("local", "Outer", "", outer) { OpsetImports = { [""] = 18, ["local"] = 1 }, RequiredAttributes = { "steepness" } };
        model.Functions.Add(innerFunction);
        model.Functions.Add(outerFunction);

        model.Graph.AddOutput(builder.Emit("Inner", "local", [x], 1).Outputs[0]);
        model.Graph.AddOutput(builder.Emit("Inner", "local", [x], 1, ("slope", 0.25f)).Outputs[0]);
        model.Graph.AddOutput(builder.Emit("Outer", "local", [x], 1, ("steepness", 0.125f)).Outputs[0]);
        IReadOnlyDictionary<string, ReferenceTensor> results = new ReferenceEvaluator(model).Run(Feed(F([1], -8)));
        CollectionAssert.AreEqual(new[] { -4.0, -2.0, -1.0 }, model.Graph.Outputs.Select(o => results[o.Name].ToScalar()).ToArray());
    }

    [TestMethod]
    public void Run_TrainingDropout_DrawsTheSameMaskAgain()
    {
        (OnnxModel model, GraphBuilder builder, Value x) = NewModel();
        Node node = builder.Emit("Dropout", "", [x, builder.Scalar(0.25f), builder.Scalar(true)], 2);
        model.Graph.AddOutput(node.Outputs[0]);
        model.Graph.AddOutput(node.Outputs[1]);
        ReferenceTensor ones = ReferenceTensor.Filled(DataType.Float, [4000], 1);
        ReferenceEvaluator evaluator = new(model);
        ReferenceTensor first = evaluator.Run(Feed(ones))[node.Outputs[0].Name];
        AreEqual(first, evaluator.Run(Feed(ones))[node.Outputs[0].Name]);
        Assert.AreEqual(1.0, first.Floats.Average(), 0.05);
        Assert.IsTrue(first.Floats.All(v => v == 0 || Math.Abs(v - (1 / 0.75)) < 1e-12));
    }

    [TestMethod]
    public void Run_RandomOperators_FollowTheirParameters()
    {
        ReferenceTensor normal = Run("RandomNormal", [], ("shape", new long[] { 5000 }), ("mean", 3f), ("scale", 2f));
        Assert.AreEqual(3, normal.Floats.Average(), 0.1);
        Assert.AreEqual(4, normal.Floats.Select(v => (v - 3) * (v - 3)).Average(), 0.3);
        ReferenceTensor uniform = Run("RandomUniformLike", [F([2, 5000], new double[10000])], ("low", -1f), ("high", 5f));
        Assert.AreEqual(2, uniform.Floats.Average(), 0.1);
        Assert.IsTrue(uniform.Floats.All(v => v is >= -1 and < 5));
        ReferenceTensor coins = Run("Bernoulli", [ReferenceTensor.Filled(DataType.Float, [5000], 0.2)], ("dtype", (long)DataType.Bool));
        Assert.AreEqual(0.2, coins.Integers.Average(), 0.03);
    }

    [TestMethod]
    public void Run_IndexOutsideAxis_NamesIndexAndSize() =>
        StringAssert.Contains(Assert.ThrowsExactly<GraphException>(() => Run("Gather", [F([3], 1, 2, 3), I([1], 3)])).Message, "index 3 lies outside an axis of size 3");

    [TestMethod]
    public void Run_MalformedNodes_AreErrorsOfTheGraph()
    {
        ReferenceTensor x = F([2, 3], 1, 2, 3, 4, 5, 6);
        (string OpType, ReferenceTensor?[] Inputs, (string, NodeAttribute)[] Attributes)[] nodes =
        [
            ("DepthToSpace", [x], [("blocksize", 2)]), ("SpaceToDepth", [x], [("blocksize", 0)]), ("Conv", [x, F([1, 2], 1, 2)], []), ("MaxPool", [x], [("kernel_shape", new long[] { 2, 2 })]),
            ("Tile", [x, I([2], -1, -1)], []), ("Reshape", [x, I([2], -1, -1)], []), ("Split", [x], [("num_outputs", 0)]), ("Transpose", [x], [("perm", new long[] { 0, 0 })]),
            ("Slice", [x, I([2], 0, 0), I([1], 1)], []), ("ConstantOfShape", [I([2], -1, 4)], []), ("OneHot", [I([1], 0), I([], -3), F([2], 0, 1)], []),
            ("Einsum", [x], [("equation", "i->")]), ("GroupNormalization", [x, x, x], [("num_groups", 0)]), ("TopK", [x, I([1], 9)], []), ("Add", [x, null], []),
            ("Gemm", [x, x], []), ("Concat", [], [("axis", 0)]), ("Expand", [x, I([1], 7)], []), ("LayerNormalization", [x, F([5], 1, 2, 3, 4, 5)], []),
            ("Cast", [x], [("to", 99)]), ("Softmax", [x], [("axis", "text")]), ("Pad", [x, I([4], -9, 0, 0, 0)], []), ("GatherND", [x, I([], 0)], []),
        ];
        foreach ((string opType, ReferenceTensor?[] inputs, (string, NodeAttribute)[] attributes) in nodes)
        {
            try
            {
                Run(opType, inputs, attributes);
                Assert.Fail($"{opType} was computed.");
            }
            catch (OrtQLoRAException e)
            {
                StringAssert.Contains(e.Message, opType);
            }
        }
    }

    private static (OnnxModel Model, GraphBuilder Builder, Value X) NewModel()
    {
        OnnxGraph graph = new("g");
        OnnxModel model = new(graph) { Opset = Opset };
        return (model, new GraphBuilder(graph, Opset), graph.AddInput("x", DataType.Float, new Shape(Dimension.Of("n"))));
    }

    private static OnnxGraph Branch(OnnxGraph parent, Func<GraphBuilder, Value> emit)
    {
        OnnxGraph branch = new("branch", parent);
        branch.AddOutput(emit(new GraphBuilder(branch, Opset)));
        return branch;
    }

    private static Dictionary<string, ReferenceTensor> Feed(ReferenceTensor x) => new() { ["x"] = x };
}
