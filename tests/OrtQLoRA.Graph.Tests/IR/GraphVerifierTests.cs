using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.IR;

[TestClass]
public sealed class GraphVerifierTests
{
    private readonly OnnxGraph _graph = new("g");
    private readonly Value _x;

    public GraphVerifierTests()
    {
        _x = _graph.AddInput("x", DataType.Float, Shape.Of(2, 3));
    }

    [TestMethod]
    public void Verify_SoundModel_Passes()
    {
        Node node = Add("Neg", "a", _x);
        _graph.AddOutput(node.Outputs[0]);
        GraphVerifier.Verify(Model());
    }

    [TestMethod]
    public void Verify_SeveralFaults_ListsThemAll()
    {
        _graph.AddNode("Custom", [_x], "n", "my.domain").AddOutput("a");
        _graph.AddInput("untyped", null);
        GraphException e = Assert.ThrowsExactly<GraphException>(() => GraphVerifier.Verify(Model()));
        StringAssert.Contains(e.Message, "in 2 places");
        StringAssert.Contains(e.Message, "domain 'my.domain', of which the model imports no version");
        StringAssert.Contains(e.Message, "Graph input 'untyped' has no type");
    }

    [TestMethod]
    public void FindFaults_NodeBeforeItsProducer_NamesBoth()
    {
        Node first = Add("Neg", "a", _x);
        Node second = Add("Abs", "b", first.Outputs[0]);
        _graph.Move(second, first);
        Expect("'Abs' at node 'b_node' reads 'a' (input 0), which 'Neg' at node 'a_node' makes only later");
    }

    [TestMethod]
    public void FindFaults_ValueOfAnotherGraph_IsOutOfReach()
    {
        OnnxGraph other = new("other");
        Add("Neg", "a", other.AddInput("y", DataType.Float, null));
        Expect("reads 'y' (input 0), which is not in its reach");
    }

    [TestMethod]
    public void FindFaults_ValueOfASubgraphReadOutside_IsOutOfReach()
    {
        OnnxGraph inner = new("inner", _graph);
        Value hidden = inner.AddNode("Neg", [_x], "n").AddOutput("hidden");
        inner.AddOutput(hidden);
        Node node = _graph.AddNode("If", [_graph.AddInput("c", DataType.Bool, Shape.Scalar)], "if");
        node.SetAttribute("then_branch", NodeAttribute.Of(inner));
        node.AddOutput("r");
        Add("Abs", "b", hidden);
        Expect("reads 'hidden' (input 0), which is not in its reach");
    }

    [TestMethod]
    public void FindFaults_RemovedValue_IsOutOfReach()
    {
        Node neg = Add("Neg", "a", _x);
        Value removed = neg.Outputs[0];
        _graph.Remove(neg);
        _graph.AddNode("Abs", [removed], "n").AddOutput("b");
        Expect("reads 'a' (input 0), which is not in its reach");
    }

    [TestMethod]
    public void FindFaults_OutputOfAnotherGraph_IsNamed()
    {
        OnnxGraph other = new("other");
        _graph.AddOutput(other.AddInput("y", DataType.Float, null));
        Expect("Output 'y' of graph 'g' is made by no node of the graph");
    }

    [TestMethod]
    public void FindFaults_NameThatHidesAnOuterOne_IsNamed()
    {
        OnnxGraph inner = new("inner", _graph);
        Value shadow = inner.AddNode("Neg", [_x], "n").AddOutput("x");
        inner.AddOutput(shadow);
        Node node = _graph.AddNode("If", [_graph.AddInput("c", DataType.Bool, Shape.Scalar)], "if");
        node.SetAttribute("then_branch", NodeAttribute.Of(inner));
        node.AddOutput("r");
        Expect("Value 'x' of subgraph 'inner' hides a value of that name in graph 'g'");
    }

    [TestMethod]
    public void FindFaults_SubgraphWithAnotherParent_IsNamed()
    {
        Node node = _graph.AddNode("If", [_graph.AddInput("c", DataType.Bool, Shape.Scalar)], "if");
        node.SetAttribute("then_branch", NodeAttribute.Of(new OnnxGraph("stray")));
        node.AddOutput("r");
        Expect("the graph around subgraph 'stray' ('then_branch') is not the node's");
    }

    [TestMethod]
    [DataRow("Add", DataType.Float, DataType.Double, "'y' is double, but must be float like 'x'")]
    [DataRow("MatMul", DataType.Float, DataType.Float16, "'y' is float16, but must be float like 'x'")]
    [DataRow("Gather", DataType.Float, DataType.Float, "input 1 ('y') is float, but must be int32 or int64")]
    [DataRow("Reshape", DataType.Float, DataType.Int32, "input 1 ('y') is int32, but must be int64")]
    [DataRow("Where", DataType.Float, DataType.Float, "input 0 ('x') is float, but must be bool")]
    public void FindFaults_ElementTypesThatDoNotMeet_SaysWhichAndHow(string opType, DataType x, DataType y, string expected)
    {
        _x.Type = new OnnxType.Tensor(x, null);
        Value other = _graph.AddInput("y", y, null);
        _graph.AddNode(opType, [_x, other, other], "n").AddOutput("z");
        Expect(expected, only: false);
    }

    [TestMethod]
    public void FindFaults_OutputOfTheWrongType_IsNamed()
    {
        Add("Shape", "s", _x).Outputs[0].Type = new OnnxType.Tensor(DataType.Int32, null);
        Expect("output 's' is int32, but must be int64");
    }

    [TestMethod]
    public void FindFaults_UnknownTypesAndOperators_AreNotGuessed()
    {
        Node unknown = Add("SomethingNew", "a", _x);
        _graph.AddNode("Add", [_x, unknown.Outputs[0]], "n").AddOutput("b");
        Assert.IsEmpty(GraphVerifier.FindFaults(Model()));
    }

    [TestMethod]
    [DataRow(DataType.Int64, new[] { 2L, 3L })]
    [DataRow(DataType.Float, new[] { 3L, 2L })]
    [DataRow(DataType.Float, new[] { 6L })]
    public void FindFaults_DefaultThatDoesNotFitItsInput_IsNamed(DataType type, long[] dims)
    {
        _graph.SetInitializer(_x, new DenseTensor(type, dims, new byte[type.ByteLength(6)]));
        Expect("but the graph input of that name is float[2, 3]");
    }

    [TestMethod]
    public void FindFaults_ShapeBeyondAnyMemory_IsNamed()
    {
        _graph.AddInput("huge", DataType.Float, Shape.Of(1L << 40, 1L << 40));
        Expect("Value 'huge' of shape [1099511627776, 1099511627776] would take more than 2^63 bytes");
    }

    [TestMethod]
    public void FindFaults_AttributeReferenceOutsideFunctions_IsNamed()
    {
        Add("Elu", "a", _x).SetAttribute("alpha", NodeAttribute.Reference("alpha", AttributeKind.Float));
        Expect("attribute 'alpha' refers to attribute 'alpha' of a caller, but stands outside functions");
    }

    [TestMethod]
    public void FindFaults_FunctionsThatCallEachOther_AreNamed()
    {
        OnnxModel model = Model();
        foreach ((string name, string callee) in new[] { ("F", "G"), ("G", "F") })
        {
            OnnxGraph body = new(name);
            body.AddOutput(body.AddNode(callee, [body.AddInput("i", null)], "call", "d").AddOutput("o"));
            OnnxFunction function = new("d", name, "", body);
            function.OpsetImports["d"] = 1;
            model.Functions.Add(function);
        }

        StringAssert.Contains(GraphVerifier.FindFaults(model).Single(), "Function 'd::F' calls itself, by way of 'd::G'");
    }

    [TestMethod]
    public void FindFaults_CallThatDoesNotFitItsFunction_IsNamed()
    {
        OnnxModel model = Model();
        model.OpsetImports["d"] = 1;
        OnnxGraph body = new("F");
        Value input = body.AddInput("i", null);
        body.AddOutput(input);
        OnnxFunction function = new("d", "F", "", body);
        function.RequiredAttributes.Add("alpha");
        model.Functions.Add(function);
        model.Functions.Add(function);
        _graph.AddNode("F", [_x, _x], "call", "d").AddOutput("r");
        string faults = string.Join('\n', GraphVerifier.FindFaults(model));
        StringAssert.Contains(faults, "passes 2 inputs and takes 1 outputs; function 'd::F' has 1 and 1");
        StringAssert.Contains(faults, "lacks attribute 'alpha'");
        StringAssert.Contains(faults, "Function 'd::F' is defined twice");
    }

    private Node Add(string opType, string output, Value input)
    {
        Node node = _graph.AddNode(opType, [input], output + "_node");
        node.AddOutput(output);
        return node;
    }

    private OnnxModel Model() => new(_graph) { Opset = 21 };

    private void Expect(string expected, bool only = true)
    {
        IReadOnlyList<string> faults = GraphVerifier.FindFaults(Model());
        Assert.IsTrue(faults.Any(f => f.Contains(expected, StringComparison.Ordinal)) && (!only || faults.Count == 1), string.Join('\n', faults));
    }
}
