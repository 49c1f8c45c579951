using Google.Protobuf;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Serialization.Protos;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Serialization;

/// <summary>Files that are no model or a damaged or hostile one, and what the reader says about them.</summary>
[TestClass]
public sealed class OnnxModelReaderTests
{
    private static readonly TensorProto W = ProtoModels.Tensor("w", DataType.Float, [1], [0, 0, 128, 63]);

    [TestMethod]
    public void Read_AbsentFileOrFolder_SaysSo()
    {
        using TemporaryFolder folder = new();
        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => OnnxModelReader.Read(folder.File("no.onnx"))).Message, "does not exist");
        StringAssert.Contains(Assert.ThrowsExactly<ModelFormatException>(() => OnnxModelReader.Read(folder.Path)).Message, "holds no ONNX model");
    }

    [TestMethod]
    [DataRow("", "is empty (0 bytes)")]
    [DataRow("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer")]
    [DataRow("    ORTM....", "ONNX Runtime's own format")]
    [DataRow("<!DOCTYPE html><html></html>", "is no ONNX model")]
    [DataRow("\u0008\u000a", "is no ONNX model: it has no graph")]
    [DataRow("\u003a\u0000", "is no ONNX model: it has no version")]
    public void Read_FileThatIsNoModel_SaysWhatItIs(string content, string expected)
    {
        using TemporaryFolder folder = new();
        string path = folder.File("model.onnx");
        File.WriteAllText(path, content);
        string message = Assert.ThrowsExactly<ModelFormatException>(() => OnnxModelReader.Read(path)).Message;
        StringAssert.Contains(message, expected);
        StringAssert.Contains(message, path);
    }

    [TestMethod]
    public void Read_ModelCutAnywhere_IsRefused()
    {
        // The graph comes last in the file, so that no cut leaves a whole model.
        ModelProto model = ProtoModels.Model(ProtoModels.Weighted(W.Clone()));
        using OnnxModel whole = ProtoModels.Read(model);
        byte[] bytes = OnnxModelWriter.ToBytes(whole);
        for (int length = 0; length < bytes.Length; length++)
        {
            Assert.ThrowsExactly<ModelFormatException>(() => OnnxModelReader.Read(bytes.AsMemory(0, length)), $"cut to {length} of {bytes.Length} bytes");
        }
    }

    [TestMethod]
    public void Read_NameMadeTwice_IsRefused()
    {
        GraphProto graph = ProtoModels.Weighted(W.Clone());
        graph.Node.Add(ProtoModels.Node("Neg", ["x"], ["y"]));
        ProtoModels.Refuse(graph, "Two values of graph 'g' are named 'y'");
        ProtoModels.Refuse(ProtoModels.Weighted(W.Clone(), W.Clone()), "two initializers 'w'");
        graph = ProtoModels.Weighted(W.Clone());
        graph.Input.Add(ProtoModels.Value("x"));
        ProtoModels.Refuse(graph, "Two values of graph 'g' are named 'x'");
    }

    [TestMethod]
    public void Read_NodesOutOfOrder_NamesBothNodes()
    {
        GraphProto graph = ProtoModels.Weighted(W.Clone());
        graph.Node.Insert(0, ProtoModels.Node("Neg", ["y"], ["z"], "early"));
        ProtoModels.Refuse(graph, "'Neg' at node 'early' reads 'y', which 'Mul' at node 'making y' makes only later");
    }

    [TestMethod]
    public void Read_Cycle_IsCalledACycle()
    {
        GraphProto graph = ProtoModels.Graph(
            ProtoModels.Node("Add", ["x", "c"], ["a"], "first"), ProtoModels.Node("Neg", ["a"], ["b"]), ProtoModels.Node("Abs", ["b"], ["c"], "last"));
        graph.Input.Add(ProtoModels.Value("x"));
        graph.Output.Add(ProtoModels.Value("c"));
        string message = ProtoModels.Refuse(graph, "the nodes form a cycle");
        StringAssert.Contains(message, "'Add' at node 'first' reads 'c', which 'Abs' at node 'last' makes");
        ProtoModels.Refuse(ProtoModels.Graph(ProtoModels.Node("Neg", ["a"], ["a"])), "the nodes form a cycle");
    }

    [TestMethod]
    public void Read_NameThatNothingMakes_NamesReader()
    {
        GraphProto graph = ProtoModels.Graph(ProtoModels.Node("Neg", ["nowhere"], ["y"], "n"));
        ProtoModels.Refuse(graph, "'Neg' at node 'n' reads 'nowhere', which no node makes");
        graph = ProtoModels.Weighted(W.Clone());
        graph.Output.Add(ProtoModels.Value("z"));
        ProtoModels.Refuse(graph, "output 'z' of graph 'g' is made by no node");
    }

    [TestMethod]
    public void Read_SubgraphThatReturnsAnOuterValue_AsksForIdentity()
    {
        GraphProto branch = new() { Name = "then", Output = { ProtoModels.Value("x") } };
        ProtoModels.Refuse(If(branch, branch.Clone()), "Put an Identity node into the subgraph");
    }

    [TestMethod]
    public void Read_BranchesWithTheSameNames_AreBothRead()
    {
        GraphProto branch = ProtoModels.Graph(ProtoModels.Node("Neg", ["x"], ["inner"], "n"));
        branch.Output.Add(ProtoModels.Value("inner"));
        using OnnxModel model = ProtoModels.Read(If(branch, branch.Clone()));
        Value outer = model.Graph.GetValue("x");
        OnnxGraph[] branches = [.. model.Graph.First!.Subgraphs];
        Assert.HasCount(2, branches);
        Assert.AreSame(outer, branches[0].First!.Inputs[0]);
        Assert.AreSame(outer, branches[1].First!.Inputs[0]);
        Assert.HasCount(2, outer.Uses);
        Assert.IsEmpty(GraphVerifier.FindFaults(model));
    }

    [TestMethod]
    public void Read_SubgraphThatReadsALaterOuterValue_IsRefused()
    {
        GraphProto branch = ProtoModels.Graph(ProtoModels.Node("Neg", ["later"], ["inner"], "n"));
        branch.Output.Add(ProtoModels.Value("inner"));
        GraphProto graph = If(branch, branch.Clone());
        graph.Node.Add(ProtoModels.Node("Abs", ["x"], ["later"], "abs"));
        ProtoModels.Refuse(graph, "reads 'later', which 'Abs' at node 'abs' makes only later");
        graph.Node[1].Input[0] = "y";
        ProtoModels.Refuse(graph, "reads 'later'");
    }

    [TestMethod]
    public void Read_SubgraphsNestedWithoutEnd_AreRefused()
    {
        GraphProto graph = ProtoModels.Graph(ProtoModels.Node("Neg", ["x"], ["y0"]));
        for (int depth = 1; depth < 300; depth++)
        {
            NodeProto node = ProtoModels.Node("If", [], [$"y{depth}"]);
            node.Attribute.Add(new AttributeProto { Name = "then_branch", Type = (int)AttributeKind.Graph, G = graph });
            graph = ProtoModels.Graph(node);
        }

        ProtoModels.Refuse(graph, "is no ONNX model, or it is truncated");
    }

    [TestMethod]
    public void Read_DamagedNode_SaysWhich()
    {
        GraphProto graph = ProtoModels.Graph(ProtoModels.Node("", [], ["y"], "n"));
        ProtoModels.Refuse(graph, "at node 'n' names no operator");
        graph = ProtoModels.Graph(ProtoModels.Node("If", [], ["y"], "n"));
        graph.Node[0].Attribute.Add(new AttributeProto { Name = "then_branch", Type = (int)AttributeKind.Graph });
        ProtoModels.Refuse(graph, "attribute 'then_branch' of 'If' at node 'n' is of kind Graph but holds none");
        graph.Node[0].Attribute.Clear();
        graph.Node[0].Attribute.Add(new AttributeProto { Name = "a", Type = (int)AttributeKind.Int });
        graph.Node[0].Attribute.Add(new AttributeProto { Name = "a", Type = (int)AttributeKind.Int });
        ProtoModels.Refuse(graph, "has two attributes 'a'");
    }

    [TestMethod]
    public void Read_TwoVersionsOfOneDomain_IsRefused()
    {
        ModelProto model = ProtoModels.Model(ProtoModels.Weighted(W.Clone()));
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "ai.onnx", Version = 7 });
        ProtoModels.Refuse(model.ToByteArray(), "imports versions 21 and 7");
    }

    [TestMethod]
    public void Read_AttributeWithoutKind_TakesTheFieldThatIsSet()
    {
        GraphProto graph = ProtoModels.Graph(ProtoModels.Node("Op", [], ["y"]));
        graph.Node[0].Attribute.Add(new AttributeProto { Name = "f", F = 0.5f });
        graph.Node[0].Attribute.Add(new AttributeProto { Name = "is", Ints = { 1, 2 } });
        graph.Node[0].Attribute.Add(new AttributeProto { Name = "zero", Type = (int)AttributeKind.Int });
        using OnnxModel model = ProtoModels.Read(graph);
        Node node = model.Graph.First!;
        Assert.AreEqual(0.5f, node.GetFloat("f", 0));
        CollectionAssert.AreEqual(new[] { 1L, 2L }, node.GetInts("is"));
        Assert.AreEqual(0, node.GetInt("zero", 9));
    }

    [TestMethod]
    public void Read_InputsAndOutputsLeftOut_AreNullAndNameless()
    {
        GraphProto graph = ProtoModels.Graph(ProtoModels.Node("LSTM", ["x", "", "x"], ["", "h", ""]));
        graph.Input.Add(ProtoModels.Value("x"));
        graph.Output.Add(ProtoModels.Value("h"));
        using OnnxModel model = ProtoModels.Read(graph);
        Node node = model.Graph.First!;
        Assert.IsNull(node.Inputs[1]);
        Assert.HasCount(3, node.Outputs);
        Assert.AreEqual("", node.Outputs[0].Name);
        Assert.IsNull(node.OutputOrNull(2));
        using OnnxModel again = OnnxModelReader.Read(OnnxModelWriter.ToBytes(model));
        Assert.AreEqual(GraphPrinter.Print(model), GraphPrinter.Print(again));
    }

    [TestMethod]
    public void Read_InitializerThatIsAnInputToo_IsADefault()
    {
        GraphProto graph = ProtoModels.Weighted(W.Clone());
        graph.Input.Add(ProtoModels.Value("w", DataType.Float, 1));
        using OnnxModel model = ProtoModels.Read(graph);
        Value w = model.Graph.GetValue("w");
        Assert.IsTrue(w.IsGraphInput);
        Assert.IsFalse(w.IsConstant);
        Assert.IsNotNull(w.Initializer);
        CollectionAssert.AreEqual(new[] { "x" }, model.Graph.RequiredInputs.Select(i => i.Name).ToArray());
    }

    [TestMethod]
    public void Read_FirstFormatVersion_MeansTheFirstOperatorSet()
    {
        ModelProto model = ProtoModels.Model(ProtoModels.Weighted(W.Clone()));
        model.IrVersion = 1;
        model.OpsetImport.Clear();
        using OnnxModel read = ProtoModels.Read(model);
        Assert.AreEqual(1, read.Opset);
    }

    private static GraphProto If(GraphProto then, GraphProto @else)
    {
        NodeProto node = ProtoModels.Node("If", ["c"], ["y"], "choice");
        node.Attribute.Add(new AttributeProto { Name = "then_branch", Type = (int)AttributeKind.Graph, G = then });
        node.Attribute.Add(new AttributeProto { Name = "else_branch", Type = (int)AttributeKind.Graph, G = @else });
        GraphProto graph = ProtoModels.Graph(node);
        graph.Input.Add(ProtoModels.Value("c", DataType.Bool));
        graph.Input.Add(ProtoModels.Value("x"));
        graph.Output.Add(ProtoModels.Value("y"));
        return graph;
    }
}
