using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class FunctionInliningPassTests
{
    private readonly OnnxModel _model = GraphText.Model();

    public FunctionInliningPassTests()
    {
        _model.OpsetImports["local"] = 1;
        Graph.Input("x", DataType.Float, 2);
    }

    private OnnxGraph Graph => _model.Graph;

    [TestMethod]
    public void Run_Call_BecomesTheBody()
    {
        AddFunction("Scale", ["a", "b"], ["c"], body =>
        {
            body.Line("h = Mul(a, b)");
            body.Line("c = Neg(h)");
        });
        Graph.Line("h = Relu(x)").Name = "first";
        Graph.Line("y = local::Scale(h, x)").Name = "call";
        Graph.Line("z = local::Scale(y, h)").Name = "call2";
        Graph.Outputs("y", "z");
        Assert.IsTrue(new FunctionInliningPass().Run(_model));
        Assert.AreEqual("h = Relu(x)\nh_1 = Mul(h, x)\ny = Neg(h_1)\nh_2 = Mul(y, h)\nz = Neg(h_2)", Graph.Lines());
        Assert.AreEqual("first, call/Mul, call/Neg, call2/Mul, call2/Neg", string.Join(", ", Graph.Nodes.Select(n => n.Name)));
        Assert.IsEmpty(_model.Functions);
        GraphVerifier.Verify(_model);
    }

    [TestMethod]
    public void Run_AttributeReferences_TakeCallersValueOrDefaultOrNothing()
    {
        OnnxFunction function = AddFunction("Act", ["a"], ["c"], body =>
        {
            body.Line("g = LeakyRelu(a)", ("alpha", NodeAttribute.Reference("slope", AttributeKind.Float)));
            body.Line("h = ReduceSum(g)", ("keepdims", NodeAttribute.Reference("keep", AttributeKind.Int)));
            body.Line("c = Softmax(h)", ("axis", NodeAttribute.Reference("axis", AttributeKind.Int)));
        });
        function.RequiredAttributes.Add("slope");
        function.OptionalAttributes["keep"] = 0L;
        Graph.Line("y = local::Act(x)", ("slope", 0.5f));
        Graph.Line("z = local::Act(x)", ("slope", 0.25f), ("keep", 1L), ("axis", 0L));
        Graph.Outputs("y", "z");
        new FunctionInliningPass().Run(_model);
        Node[] nodes = [.. Graph.Nodes];
        Assert.AreEqual(0.5f, nodes[0].GetFloat("alpha", 0));
        Assert.AreEqual(0L, nodes[1].GetInt("keepdims", 1));
        Assert.IsFalse(nodes[2].Attributes.ContainsKey("axis"));
        Assert.AreEqual(0.25f, nodes[3].GetFloat("alpha", 0));
        Assert.AreEqual(1L, nodes[4].GetInt("keepdims", 0));
        Assert.AreEqual(0L, nodes[5].GetInt("axis", -1));
    }

    [TestMethod]
    public void Run_RequiredAttributeMissing_IsRefusedByName()
    {
        OnnxFunction function = AddFunction("Act", ["a"], ["c"], body => body.Line("c = LeakyRelu(a)", ("alpha", NodeAttribute.Reference("slope", AttributeKind.Float))));
        function.RequiredAttributes.Add("slope");
        Graph.Line("y = local::Act(x)");
        Assert.Contains("lacks attribute 'slope'", Assert.ThrowsExactly<GraphException>(() => new FunctionInliningPass().Run(_model)).Message);
    }

    [TestMethod]
    public void Run_NestedCallsAndOverloads_AreFollowed()
    {
        AddFunction("Inner", ["a"], ["c"], body => body.Line("c = Exp(a)"));
        AddFunction("Inner", ["a"], ["c"], body => body.Line("c = Log(a)"), "other");
        AddFunction("Outer", ["a"], ["c"], body =>
        {
            body.Line("b = local::Inner(a)");
            body.Line("c = local::Inner(b)").Overload = "other";
        });
        Graph.Line("y = local::Outer(x)");
        Graph.Outputs("y");
        new FunctionInliningPass().Run(_model);
        Assert.AreEqual("b = Exp(x)\ny = Log(b)", Graph.Lines());
    }

    [TestMethod]
    public void Run_OptionalInputsAndOutputsLeftOut_StayOut()
    {
        AddFunction("Parts", ["a", "low", "high"], ["c", "d"], body =>
        {
            body.Line("c = Clip(a, low, high)");
            body.Line("d = Neg(c)");
        });
        Graph.AddInitializer("most", DenseTensor.Scalar(1f));
        Graph.Line("y = local::Parts(x, _, most)");
        Graph.Line("_, z = local::Parts(x)");
        Graph.Outputs("y", "z");
        new FunctionInliningPass().Run(_model);
        Assert.AreEqual("y = Clip(x, , most)\nd = Neg(y)\nc = Clip(x, , )\nz = Neg(c)", Graph.Lines());
    }

    [TestMethod]
    public void Run_BodyPassesAnInputThrough_GoesThroughIdentity()
    {
        AddFunction("Pass", ["a"], ["a", "c", "c"], body => body.Line("c = Neg(a)"));
        Graph.Line("u, v, w = local::Pass(x)");
        Graph.Outputs("u", "v", "w");
        new FunctionInliningPass().Run(_model);
        Assert.AreEqual("v = Neg(x)\nu = Identity(x)\nw = Identity(v)", Graph.Lines());
    }

    [TestMethod]
    public void Run_CallInABranchAndBranchInABody_AreInlined()
    {
        AddFunction("Choose", ["condition", "a"], ["c"], body =>
        {
            Node choice = body.Line("c = If(condition)");
            choice.SetAttribute("then_branch", NodeAttribute.Of(Branch(body, "t = local::Leaf(a)", "t")));
            choice.SetAttribute("else_branch", NodeAttribute.Of(Branch(body, "e = Neg(a)", "e")));
        });
        AddFunction("Leaf", ["a"], ["c"], body => body.Line("c = LeakyRelu(a)", ("alpha", 0.5f)));
        Graph.Input("p", DataType.Bool);
        Graph.Line("y = local::Choose(p, x)");
        Graph.Line("z = local::Choose(p, y)");
        Graph.Outputs("z");
        new FunctionInliningPass().Run(_model);
        Node[] nodes = [.. Graph.Nodes];
        Assert.AreEqual("y = If(p)\nz = If(p)", Graph.Lines());
        Assert.AreEqual("t = LeakyRelu(x)", nodes[0].Attributes["then_branch"].AsGraph().Lines());
        Assert.AreEqual("t_1 = LeakyRelu(y)", nodes[1].Attributes["then_branch"].AsGraph().Lines());
        Assert.AreEqual("e_1 = Neg(y)", nodes[1].Attributes["else_branch"].AsGraph().Lines());
        GraphVerifier.Verify(_model);
    }

    [TestMethod]
    public void Run_FunctionOfAnotherOpset_IsBroughtToOneVersion()
    {
        _model.Opset = 18;
        OnnxFunction function = AddFunction("Old", ["a"], ["c"], body => body.Line("c = Unsqueeze(a)", ("axes", new[] { 0L })));
        function.OpsetImports[""] = 11;
        Graph.Line("s = ReduceMean(x)");
        Graph.Line("y = local::Old(s)");
        Graph.Outputs("y");
        new FunctionInliningPass().Run(_model);
        Assert.AreEqual(21, _model.Opset);
        Assert.AreEqual("s = ReduceMean(x)\ny = Unsqueeze(s, const)", Graph.Lines());
    }

    [TestMethod]
    public void Run_Recursion_IsRefused()
    {
        AddFunction("Ping", ["a"], ["c"], body => body.Line("c = local::Pong(a)"));
        AddFunction("Pong", ["a"], ["c"], body => body.Line("c = local::Ping(a)"));
        Graph.Line("y = local::Ping(x)");
        string message = Assert.ThrowsExactly<GraphException>(() => new FunctionInliningPass().Run(_model)).Message;
        Assert.Contains("local::Ping -> local::Pong -> local::Ping", message);
    }

    [TestMethod]
    public void Run_CallsThatMultiply_AreRefusedInTime()
    {
        // 2^40 nodes if it were carried through.
        AddFunction("F0", ["a"], ["c"], body => body.Line("c = Neg(a)"));
        for (int i = 1; i <= 40; i++)
        {
            int callee = i - 1;
            AddFunction($"F{i}", ["a"], ["c"], body =>
            {
                body.Line($"b = local::F{callee}(a)");
                body.Line($"c = local::F{callee}(b)");
            });
        }

        Graph.Line("y = local::F40(x)");
        Assert.Contains("nodes", Assert.ThrowsExactly<GraphException>(() => new FunctionInliningPass().Run(_model)).Message);
    }

    private static OnnxGraph Branch(OnnxGraph parent, string line, string output)
    {
        OnnxGraph branch = new(output, parent);
        branch.Line(line);
        branch.Outputs(output);
        return branch;
    }

    private OnnxFunction AddFunction(string name, string[] inputs, string[] outputs, Action<OnnxGraph> build, string overload = "")
    {
        OnnxGraph body = new(name);
        foreach (string input in inputs)
        {
            body.AddInput(input, type: null);
        }

        build(body);
        body.Outputs(outputs);
        OnnxFunction function = new("local", name, overload, body);
        function.OpsetImports[""] = _model.Opset;
        function.OpsetImports["local"] = 1;
        _model.Functions.Add(function);
        return function;
    }
}
