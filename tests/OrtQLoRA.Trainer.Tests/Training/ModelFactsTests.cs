using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Trainer.Tests.Training;

[TestClass]
public sealed class ModelFactsTests
{
    [TestMethod]
    public void Read_SegmentsLookedUpByPosition_AreNoPositions()
    {
        OnnxModel model = GraphText.Model();
        OnnxGraph graph = model.Graph;
        graph.Input("input_ids", DataType.Int64, Dimension.Of("batch"), Dimension.Of("sequence"));
        graph.AddInitializer("words", DenseTensor.Of([9, 4], new float[36]));
        graph.AddInitializer("places", DenseTensor.Of([16, 4], new float[64]));
        graph.AddInitializer("segments", DenseTensor.Of([2, 4], new float[8]));
        graph.AddInitializer("buffer", DenseTensor.Of([1, 16], new long[16]));
        graph.AddInitializer("head", DenseTensor.Of([4, 9], new float[36]));
        graph.AddInitializer("zero", DenseTensor.Of<long>([], [0]));
        graph.AddInitializer("one", DenseTensor.Of<long>([], [1]));
        graph.AddInitializer("first", DenseTensor.Vector<long>(0));
        graph.AddInitializer("axis", DenseTensor.Vector<long>(1));
        graph.Line("shape = Shape(input_ids)");
        graph.Line("length = Gather(shape, one)");
        graph.Line("positions = Range(zero, length, one)");
        graph.Line("row = Unsqueeze(positions, first)");
        graph.Line("types = GatherElements(buffer, row)", ("axis", 1L));
        graph.Line("token = Gather(words, input_ids)");
        graph.Line("place = Gather(places, row)");
        graph.Line("segment = Gather(segments, types)");
        graph.Line("placed = Add(token, place)");
        graph.Line("sum = Add(placed, segment)");
        graph.Line("logits = MatMul(sum, head)");
        graph.Outputs("logits");

        Assert.AreEqual(16, ModelFacts.Read(model).ContextLength);
    }
}
