using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Rewriting;

namespace OrtQLoRA.Graph.Tests.Rewriting;

[TestClass]
public sealed class SumFusionPassTests : IDisposable
{
    private const string Domain = "ortqlora";
    private static readonly Shape Rows = Shape.Of(2, 8);

    private readonly OnnxModel _model = new(new OnnxGraph("sums")) { Opset = 21 };

    private GraphBuilder Builder => new(_model.Graph, _model.Opset);

    public void Dispose() => _model.Dispose();

    [TestMethod]
    [DataRow("LoraLinear", 5, 0, 6)]
    [DataRow("LoraLinearGrad", 7, 2, 7)]
    [DataRow("RmsNormGrad", 4, 0, 4)]
    [DataRow("LayerNormGrad", 5, 0, 5)]
    public void Run_ResultAddedToAnEarlierValue_IsTheOperators(string op, int inputs, int output, int place)
    {
        Value residual = Input("residual");
        Node node = Native(op, inputs, output);
        Value total = Output(Builder.Add(residual, node.Outputs[output]), "total");

        Assert.IsTrue(new SumFusionPass().Run(_model));

        Assert.AreSame(residual, node.Inputs[place]);
        Assert.AreSame(node.Outputs[output], _model.Graph.Outputs[0]);
        Assert.AreEqual("total", node.Outputs[output].Name, "outputs keep their names");
        Assert.IsFalse(_model.Graph.Nodes.Any(n => n.Is("Add")), total.Name);
    }

    /// <summary>Gradients of a value that three layers read, in an order other than that of the layers, with one more term.</summary>
    [TestMethod]
    public void Run_SumOfSeveralResults_IsPassedFromOneToTheNext()
    {
        Value residual = Input("residual");
        Node[] nodes = [Native("LoraLinearGrad", 7, 2), Native("LoraLinearGrad", 7, 2), Native("LoraLinearGrad", 7, 2)];
        Value first = Typed(Builder.Add(nodes[2].Outputs[2], nodes[0].Outputs[2]));
        Value second = Typed(Builder.Add(first, nodes[1].Outputs[2]));
        Output(Builder.Add(second, residual), "total");

        Assert.IsTrue(new SumFusionPass().Run(_model));

        Assert.AreSame(residual, nodes[0].Inputs[7]);
        Assert.AreSame(nodes[0].Outputs[2], nodes[1].Inputs[7]);
        Assert.AreSame(nodes[1].Outputs[2], nodes[2].Inputs[7]);
        Assert.AreSame(nodes[2].Outputs[2], _model.Graph.Outputs[0]);
        Assert.IsFalse(_model.Graph.Nodes.Any(n => n.Is("Add")));
    }

    [TestMethod]
    public void Run_TermMadeAfterTheResults_IsAddedAfterThem()
    {
        Node[] nodes = [Native("LoraLinearGrad", 7, 2), Native("LoraLinearGrad", 7, 2)];
        Value late = Typed(Builder.Op("Neg", [nodes[1].Inputs[0]!]));
        Value inner = Typed(Builder.Add(nodes[0].Outputs[2], late));
        Output(Builder.Add(inner, nodes[1].Outputs[2]), "total");

        Assert.IsTrue(new SumFusionPass().Run(_model));

        Assert.AreSame(nodes[0].Outputs[2], nodes[1].Inputs[7]);
        Node add = _model.Graph.Nodes.Single(n => n.Is("Add"));
        CollectionAssert.AreEqual(new[] { nodes[1].Outputs[2], late }, add.Inputs.ToArray());
        Assert.AreSame(add.Outputs[0], _model.Graph.Outputs[0]);
    }

    [TestMethod]
    [DataRow("read twice")]
    [DataRow("graph output")]
    [DataRow("another addend")]
    [DataRow("broadcast")]
    [DataRow("made later")]
    [DataRow("twice itself")]
    public void Run_WhatIsNoAddend_StaysApart(string what)
    {
        Node node = Native("LoraLinear", 5, 0);
        Value result = node.Outputs[0];
        Value other = what switch
        {
            "broadcast" => _model.Graph.AddInput("row", DataType.Float, Shape.Of(8)),
            "made later" => Typed(Builder.Op("Neg", [node.Inputs[0]!])),
            "twice itself" => result,
            _ => Input("residual"),
        };
        if (what == "another addend")
        {
            node.AddInput(null);
            node.AddInput(Input("first"));
        }

        Value total = Output(Builder.Add(other, result), "total");
        if (what == "read twice")
        {
            Output(Builder.Op("Neg", [result]), "negative");
        }
        else if (what == "graph output")
        {
            _model.Graph.AddOutput(result);
        }

        Assert.IsFalse(new SumFusionPass().Run(_model));
        Assert.AreSame(total, _model.Graph.Outputs[0]);
        CollectionAssert.AreEqual(new[] { other, result }, total.Producer!.Inputs.ToArray());
    }

    private Value Input(string name) => _model.Graph.AddInput(name, DataType.Float, Rows);

    private Value Output(Value value, string name)
    {
        Typed(value).Name = name;
        _model.Graph.AddOutput(value);
        return value;
    }

    private static Value Typed(Value value)
    {
        value.Type = new OnnxType.Tensor(DataType.Float, Rows);
        return value;
    }

    private Node Native(string op, int inputs, int output)
    {
        int before = _model.Graph.Inputs.Count;
        Node node = _model.Graph.AddNode(op, Enumerable.Range(before, inputs).Select(i => Input($"i{i}")).ToArray(), domain: Domain);
        for (int i = 0; i <= output; i++)
        {
            Typed(node.AddOutput(_model.Graph.Names.Reserve(op)));
        }

        return node;
    }
}
