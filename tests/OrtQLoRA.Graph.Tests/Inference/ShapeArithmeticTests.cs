using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Inference;

/// <summary>Shapes that models compute, in the idioms of exporters.</summary>
[TestClass]
public sealed class ShapeArithmeticTests
{
    private readonly OnnxModel _model = GraphText.Model();
    private readonly GraphBuilder _builder;
    private readonly Value _x;

    public ShapeArithmeticTests()
    {
        _builder = new GraphBuilder(_model.Graph, 21);
        _x = _model.Graph.Input("x", DataType.Float, Dimension.Of("batch"), Dimension.Of("sequence"), 12);
    }

    [TestMethod]
    public void Reshape_TargetOfShapeGatherConcat_IsSymbolic()
    {
        Value batch = _builder.Op("Gather", [_builder.ShapeOf(_x), _builder.Scalar(0L)]);
        Value sequence = _builder.Op("Gather", [_builder.ShapeOf(_x), _builder.Scalar(1L)]);
        Value target = _builder.Concat(0, _builder.Unsqueeze(batch, 0), _builder.Unsqueeze(sequence, 0), _builder.Int64s(4), _builder.Int64s(-1));
        Assert.AreEqual("[batch, sequence, 4, 3]", _builder.Reshape(_x, target).Shape!.ToString());
    }

    [TestMethod]
    public void Reshape_ProductOfDimensions_SimplifiesBack()
    {
        Value shape = _builder.ShapeOf(_x);
        Value product = _builder.Op("ReduceProd", [_builder.ShapeOf(_x, 0, 2)], ("keepdims", 1L));
        Value flat = _builder.Reshape(_x, _builder.Concat(0, product, _builder.Int64s(12)));
        Assert.AreEqual("[batch*sequence, 12]", flat.Shape!.ToString());
        Value back = _builder.Reshape(flat, _builder.Concat(0, _builder.Op("Slice", [shape, _builder.Int64s(0), _builder.Int64s(1)]), _builder.Int64s(-1, 12)));
        Assert.AreEqual("[batch, sequence, 12]", back.Shape!.ToString());
        Assert.IsTrue(back.Shape.IsSameAs(_x.Shape));
    }

    [TestMethod]
    public void Expand_MinusOneIdiom_KeepsDimensions()
    {
        // Where(target == -1, 1, target), as both of PyTorch's exporters write Tensor.expand.
        Value target = _builder.Concat(0, _builder.ShapeOf(_x, 0, 1), _builder.Int64s(-1, 5, 12));
        Value ones = _builder.Op("ConstantOfShape", [_builder.Int64s(4)], ("value", DenseTensor.Vector(1L)));
        Value isMinusOne = _builder.Op("Equal", [target, _builder.Mul(ones, _builder.Scalar(-1L))]);
        Value row = _builder.Unsqueeze(_x, 2);
        Assert.AreEqual("[batch, sequence, 5, 12]", _builder.Expand(row, _builder.Where(isMinusOne, ones, target)).Shape!.ToString());
    }

    [TestMethod]
    public void Range_ToSumOfLengths_HasThatLength()
    {
        Value past = _model.Graph.Input("past", DataType.Float, Dimension.Of("batch"), Dimension.Of("past_length"));
        Value pastLength = _builder.Op("Gather", [_builder.ShapeOf(past), _builder.Scalar(1L)]);
        Value total = _builder.Add(pastLength, _builder.Op("Gather", [_builder.ShapeOf(_x), _builder.Scalar(1L)]));
        Assert.AreEqual("[sequence]", _builder.Op("Range", [pastLength, total, _builder.Scalar(1L)]).Shape!.ToString());
        Value keys = _builder.Op("Range", [_builder.Scalar(0L), total, _builder.Scalar(1L)]);
        Assert.AreEqual("[past_length + sequence]", keys.Shape!.ToString());
        Value cut = _builder.Op("Slice", [keys, _builder.Unsqueeze(pastLength, 0), _builder.Unsqueeze(total, 0), _builder.Int64s(0)]);
        Assert.AreEqual("[sequence]", cut.Shape!.ToString());
    }

    [TestMethod]
    public void Slice_TableOfPositionsCutToSequence_BroadcastsAsSequence()
    {
        Value table = _builder.Constant(DenseTensor.Of([1, 512], new long[512]));
        Value positions = _builder.Op("Slice", [table, _builder.Int64s(0), _builder.ShapeOf(_x, 1, 2), _builder.Int64s(1)]);
        Assert.AreEqual("[1, min(512, sequence)]", positions.Shape!.ToString());
        Value ids = _model.Graph.Input("ids", DataType.Int64, Dimension.Of("batch"), Dimension.Of("sequence"));
        Assert.AreEqual("[batch, sequence]", _builder.Add(ids, positions).Shape!.ToString());
    }

    [TestMethod]
    public void Slice_HalvesOfComputedSize_AreHalves()
    {
        Value width = _builder.Op("Gather", [_builder.ShapeOf(_x), _builder.Scalar(2L)]);
        Value half = _builder.Unsqueeze(_builder.Cast(_builder.Cast(_builder.Div(width, _builder.Scalar(2L)), DataType.Int32), DataType.Int64), 0);
        Value second = _builder.Op("Slice", [_x, half, _builder.Int64s(long.MaxValue), _builder.Int64s(-1)]);
        Assert.AreEqual("[batch, sequence, 6]", second.Shape!.ToString());
    }

    [TestMethod]
    public void Pad_ReversedPadsOfPyTorch_AreFollowed()
    {
        // F.pad gives pads from the last axis backwards; the exporter turns them round in the graph.
        Value given = _builder.Concat(0, _builder.Int64s(1, 2, 0, 3), _builder.Op("ConstantOfShape", [_builder.Int64s(2)], ("value", DenseTensor.Vector(0L))));
        Value pairs = _builder.Reshape(given, -1, 2);
        Value reversed = _builder.Op("Slice", [pairs, _builder.Int64s(-1), _builder.Int64s(long.MinValue), _builder.Int64s(0), _builder.Int64s(-1)]);
        Value pads = _builder.Reshape(_builder.Transpose(reversed, 1, 0), -1);
        Assert.AreEqual("[batch, sequence + 3, 15]", _builder.Op("Pad", [_x, pads]).Shape!.ToString());
    }

    [TestMethod]
    public void Tile_RepeatsOfOneHotProduct_AreFollowed()
    {
        Value hot = _builder.Op("OneHot", [_builder.Int64s(1), _builder.Scalar(3L), _builder.Int64s(1, 4)], ("axis", 0L));
        Value repeats = _builder.Op("ReduceProd", [hot, _builder.Int64s(1)], ("keepdims", 0L));
        Assert.AreEqual("[batch, 4*sequence, 12]", _builder.Op("Tile", [_x, repeats]).Shape!.ToString());
    }

    [TestMethod]
    public void Content_Arithmetic_FollowsSymbols()
    {
        Value sequence = _builder.Op("Gather", [_builder.ShapeOf(_x), _builder.Scalar(-2L)]);
        Dictionary<string, Value> results = new()
        {
            ["2*sequence - 1"] = _builder.Sub(_builder.Mul(sequence, _builder.Scalar(2L)), _builder.Scalar(1L)),
            ["floor(sequence/2)"] = _builder.Div(sequence, _builder.Scalar(2L)),
            ["-2*floor(sequence/2) + sequence"] = _builder.Op("Mod", [sequence, _builder.Scalar(2L)]),
            ["-sequence"] = _builder.Neg(sequence),
            ["min(64, sequence)"] = _builder.Op("Min", [sequence, _builder.Scalar(64L)]),
            ["sequence"] = _builder.Op("Max", [sequence, _builder.Scalar(0L)]),
            ["12*batch*sequence"] = _builder.Op("Size", [_x]),
            ["1"] = _builder.Op("Less", [_builder.Scalar(-1L), sequence]),
            ["0"] = _builder.Op("Not", [_builder.Op("GreaterOrEqual", [sequence, _builder.Scalar(0L)])]),
        };
        InferenceContext context = new(21);
        foreach ((string expected, Value value) in results)
        {
            Assert.AreEqual(expected, context.TryGetContent(value)?[0]?.ToString(), value.Producer!.OpType);
        }
    }

    [TestMethod]
    [DataRow(-7L, 2L, -3L)]
    [DataRow(7L, -2L, -3L)]
    [DataRow(7L, 2L, 3L)]
    public void Content_IntegerDivision_RoundsTowardsZero(long a, long b, long expected)
    {
        Value quotient = _builder.Div(_builder.Scalar(a), _builder.Scalar(b));
        Assert.AreEqual(expected, new InferenceContext(21).TryGetContent(quotient)?[0]?.Constant);
    }

    [TestMethod]
    public void Content_RealDivisionWithRest_IsUnknown()
    {
        Value quotient = _builder.Div(_builder.Scalar(7f), _builder.Scalar(2f));
        Assert.IsNull(new InferenceContext(21).TryGetContent(quotient)?[0]);
    }

    [TestMethod]
    public void Content_DataOfInputs_IsUnknown()
    {
        Value ids = _model.Graph.Input("ids", DataType.Int64, 3);
        Assert.IsNull(new InferenceContext(21).TryGetContent(ids));
        Value shaped = _builder.Reshape(_x, ids);
        Assert.AreEqual($"[{shaped.Name}#0, {shaped.Name}#1, {shaped.Name}#2]", shaped.Shape!.ToString());
    }
}
