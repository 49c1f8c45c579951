using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;

namespace OrtQLoRA.Graph.Tests.Optimizers;

[TestClass]
public sealed class InPlaceUpdateVerifierTests
{
    private readonly OnnxGraph _graph = new("test");
    private readonly GraphBuilder _builder;
    private readonly Value _state;

    public InPlaceUpdateVerifierTests()
    {
        _builder = new GraphBuilder(_graph, 18);
        _state = _graph.AddInput("state", DataType.Float, Shape.Of(4));
    }

    [TestMethod]
    public void Verify_ReaderIsAncestorOfWriter_Passes()
    {
        Value halved = _builder.Mul(_state, 0.5);
        InPlaceUpdateVerifier.Verify(_state, _builder.Add(halved, halved));
    }

    [TestMethod]
    public void Verify_WriterReadsElementwise_Passes() => InPlaceUpdateVerifier.Verify(_state, _builder.Mul(_state, 0.5));

    [TestMethod]
    public void Verify_ReaderBesideWriter_NamesBoth()
    {
        Value replacement = _builder.Mul(_state, 0.5);
        _builder.Op("Sqrt", [_state]);

        GraphException e = Assert.ThrowsExactly<GraphException>(() => InPlaceUpdateVerifier.Verify(_state, replacement));

        StringAssert.Contains(e.Message, "'Sqrt'");
        StringAssert.Contains(e.Message, "'Mul'");
        StringAssert.Contains(e.Message, "'state'");
    }

    [TestMethod]
    public void Verify_WriterMovesElements_IsRefused()
    {
        Value reversed = _builder.Op("Gather", [_state, _builder.Int64s(3, 2, 1, 0)]);

        Assert.ThrowsExactly<GraphException>(() => InPlaceUpdateVerifier.Verify(_state, reversed));
    }

    [TestMethod]
    public void Verify_NativeWriterThatSums_IsRefused()
    {
        Value sum = _builder.Emit("SquaredNorm", "ortqlora", [_state], 1).Outputs[0];

        Assert.ThrowsExactly<GraphException>(() => InPlaceUpdateVerifier.Verify(_state, sum));
    }

    [TestMethod]
    public void Verify_InputItselfAsReplacement_IsRefused() =>
        Assert.ThrowsExactly<GraphException>(() => InPlaceUpdateVerifier.Verify(_state, _state));
}
