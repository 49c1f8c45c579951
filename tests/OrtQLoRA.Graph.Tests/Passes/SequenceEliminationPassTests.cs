using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class SequenceEliminationPassTests
{
    private readonly OnnxModel _model = GraphText.Model();

    private OnnxGraph Graph => _model.Graph;

    [TestMethod]
    [DataRow("lengths", "0", "1")]
    [DataRow("lengths", "-1", "1")]
    [DataRow("length", "1", "2")]
    public void Run_ElementOfASplit_IsAPartOfTheTensor(string split, string first, string second)
    {
        Graph.Input("x", DataType.Float, 2, 7);
        Graph.AddInitializer("lengths", DenseTensor.Vector<long>(3, 4));
        Graph.AddInitializer("length", DenseTensor.Of<long>([], [3]));
        foreach (string place in new[] { first, second }.Distinct())
        {
            Graph.AddInitializer("at" + place, DenseTensor.Of<long>([], [long.Parse(place, null)]));
        }

        Graph.Line($"parts = SplitToSequence(x, {split})", ("axis", 1L));
        Graph.Line($"a = SequenceAt(parts, at{first})");
        Graph.Line($"b = SequenceAt(parts, at{second})");
        Graph.Outputs("a", "b");

        KeepsWhatItComputes();
    }

    [TestMethod]
    [DataRow(0L)]
    [DataRow(1L)]
    public void Run_SplitIntoSingleElements_KeepsTheAxisAsAsked(long keepDims)
    {
        Graph.Input("x", DataType.Float, 2, 3);
        Graph.AddInitializer("at", DenseTensor.Of<long>([], [-1]));
        Graph.Line("parts = SplitToSequence(x)", ("axis", 1L), ("keepdims", keepDims));
        Graph.Line("a = SequenceAt(parts, at)");
        Graph.Outputs("a");

        KeepsWhatItComputes();
    }

    [TestMethod]
    public void Run_ConstructedSequence_GoesAway()
    {
        Graph.Input("x", DataType.Float, 2, 7);
        Graph.AddInitializer("at", DenseTensor.Of<long>([], [1]));
        Graph.Line("y = Neg(x)");
        Graph.Line("both = SequenceConstruct(x, y)");
        Graph.Line("a = SequenceAt(both, at)");
        Graph.Line("b = ConcatFromSequence(both)", ("axis", -1L));
        Graph.Outputs("a", "b");

        KeepsWhatItComputes();
    }

    [TestMethod]
    public void Run_ElementThatIsNotKnown_Stays()
    {
        Graph.Input("x", DataType.Float, 2, 7);
        Graph.Input("at", DataType.Int64);
        Graph.AddInitializer("length", DenseTensor.Of<long>([], [3]));
        Graph.Line("parts = SplitToSequence(x, length)", ("axis", 1L));
        Graph.Line("a = SequenceAt(parts, at)");
        Graph.Outputs("a");

        Assert.IsFalse(new SequenceEliminationPass().Run(_model));
    }

    private void KeepsWhatItComputes()
    {
        Dictionary<string, ITensor> feeds = Graph.Inputs.ToDictionary(
            i => i.Name, i => (ITensor)DenseTensor.Of([.. i.Shape!.Select(d => d.Value!.Value)], [.. Enumerable.Range(0, (int)i.Shape!.ElementCount!).Select(v => (float)v)]));
        IReadOnlyDictionary<string, ITensor> expected = OrtRunner.Run(_model, feeds);

        Assert.IsTrue(new SequenceEliminationPass().Run(_model));
        new DeadNodeEliminationPass().Run(_model);

        Assert.IsFalse(Graph.Nodes.Any(n => n.OpType.Contains("Sequence", StringComparison.Ordinal)), Graph.Lines());
        IReadOnlyDictionary<string, ITensor> actual = OrtRunner.Run(_model, feeds);
        foreach ((string name, ITensor tensor) in expected)
        {
            CollectionAssert.AreEqual(tensor.Dims.ToArray(), actual[name].Dims.ToArray(), name);
            CollectionAssert.AreEqual(tensor.ToFloats(), actual[name].ToFloats(), name);
        }
    }
}
