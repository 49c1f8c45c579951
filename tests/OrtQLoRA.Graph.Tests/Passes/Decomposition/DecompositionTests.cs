using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes.Decomposition;

/// <summary>Fused operators taken apart compute what ONNX Runtime's own kernels do, and can be differentiated.</summary>
[TestClass]
public sealed class DecompositionTests
{
    public static IEnumerable<object[]> Calls => AttentionCalls.All.Concat(LayerCalls.All).Select(c => new object[] { c });

    [TestMethod]
    [DynamicData(nameof(Calls))]
    public void ForTraining_FusedCall_EqualsTheRuntimesKernel(FusedCall call)
    {
        string fused = call.Model.Graph.First!.OpType;
        IReadOnlyDictionary<string, ITensor> expected = OrtRunner.Run(call.Model, call.Feeds);
        HashSet<string> weights = [.. call.Model.Graph.Initializers.Where(i => i.ElementType.IsFloatingPoint()).Select(i => i.Name)];

        NormalisationPipeline.ForTraining(v => weights.Contains(v.Name)).Run(call.Model);

        GraphVerifier.Verify(call.Model);
        Assert.IsEmpty(call.Model.Graph.Nodes.Where(n => n.Domain == "com.microsoft" || (n.OpType == fused && fused != "Gelu")));
        Dictionary<string, ITensor> feeds = call.Feeds.Where(f => call.Model.Graph.TryGetValue(f.Key, out Value? v) && v.IsGraphInput).ToDictionary();
        IReadOnlyDictionary<string, ITensor> actual = OrtRunner.Run(call.Model, feeds);
        foreach ((string name, ITensor tensor) in expected)
        {
            if (tensor.ElementType.IsFloatingPoint())
            {
                TensorAssert.AreClose(tensor, actual[name], call.Tolerance, name);
            }
            else
            {
                CollectionAssert.AreEqual(tensor.ToInt64s(), actual[name].ToInt64s(), name);
            }
        }

        Differentiate(call.Model);
    }

    /// <summary>Packed operands, for which the processor has no kernel, against the same operands apart.</summary>
    [TestMethod]
    [DataRow(3)]
    [DataRow(2)]
    public void ForTraining_PackedOperands_EqualThemApart(int packed)
    {
        FusedCall apart = new FusedCall("apart", "com.microsoft::MultiHeadAttention").With("num_heads", 2L)
            .Float("q", "batch=2,length=3,16").Float("k", "batch=2,length=3,16").Float("v", "batch=2,length=3,16").Making("y");
        float[] q = apart.Feeds["q"].ToFloats();
        float[] k = apart.Feeds["k"].ToFloats();
        float[] v = apart.Feeds["v"].ToFloats();
        float[][] parts = packed == 3 ? [q, k, v] : [k, v];

        // [row, head, part, size] of parts [row, head, size]; a row is a token of a sequence.
        float[] together = [.. Enumerable.Range(0, 6).SelectMany(row => Enumerable.Range(0, 2).SelectMany(head => parts.SelectMany(p => p.Skip((row * 16) + (head * 8)).Take(8))))];
        FusedCall call = new FusedCall("packed", "com.microsoft::MultiHeadAttention").With("num_heads", 2L);
        call = (packed == 3 ? call : call.Float("q", "batch=2,length=3,16")).Float("packed", $"batch=2,length=3,2,{packed},8").Making("y");
        NormalisationPipeline.ForTraining().Run(call.Model);

        Dictionary<string, ITensor> feeds = new() { ["packed"] = DenseTensor.Of([2, 3, 2, packed, 8], together) };
        if (packed == 2)
        {
            feeds["q"] = apart.Feeds["q"];
        }

        TensorAssert.AreClose(OrtRunner.Run(apart.Model, apart.Feeds)["y"], OrtRunner.Run(call.Model, feeds)["y"], 2e-6);
    }

    /// <summary>Tokens without padding, for which the processor has no kernel, against padded rows with their lengths.</summary>
    [TestMethod]
    public void ForTraining_PackedSequences_EqualPaddedRows()
    {
        FusedCall padded = new FusedCall("padded", "com.microsoft::Attention").Float("x", "batch=2,length=4,16").Weight("w", 16, 48).Weight("b", 48)
            .Int32("lengths", "batch=2", 4, 2).With("num_heads", 2L).Making("y");
        FusedCall packed = new FusedCall("packed", "com.microsoft::PackedAttention").Float("x", "tokens=6,16").Constant("w", padded.Model.Graph.GetValue("w").Initializer!)
            .Constant("b", padded.Model.Graph.GetValue("b").Initializer!).Int32("offsets", "batch=2,length=4", 0, 1, 2, 3, 4, 5, 6, 7).Int32("sums", "more=3", 0, 4, 6).With("num_heads", 2L).Making("y");
        float[] tokens = padded.Feeds["x"].ToFloats();
        packed.Feeds["x"] = DenseTensor.Of([6, 16], tokens[..(6 * 16)]);
        NormalisationPipeline.ForTraining().Run(packed.Model);

        float[] expected = OrtRunner.Run(padded.Model, padded.Feeds)["y"].ToFloats();
        ITensor actual = OrtRunner.Run(packed.Model, packed.Feeds)["y"];

        TensorAssert.AreClose(DenseTensor.Of([6, 16], expected[..(6 * 16)]), actual, 2e-6);
    }

    [TestMethod]
    public void ForTraining_PaddingRemovedAndRestored_KeepsTokensAndClearsPadding()
    {
        OnnxModel model = GraphText.Model();
        model.OpsetImports["com.microsoft"] = 1;
        model.Graph.Input("x", DataType.Float, Dimension.Of("batch"), Dimension.Of("length"), 2);
        model.Graph.Input("counts", DataType.Int32, Dimension.Of("batch"));
        model.Graph.Line("tokens, offsets, sums, longest = com.microsoft::RemovePadding(x, counts)");
        model.Graph.Line("y = com.microsoft::RestorePadding(tokens, offsets)");
        model.Graph.Outputs("tokens", "offsets", "sums", "longest", "y");
        foreach ((string name, Shape shape, DataType type) in ((string, Shape, DataType)[])[("tokens", new Shape(Dimension.Of("t"), 2), DataType.Float), ("offsets", new Shape(Dimension.Of("batch"), Dimension.Of("length")), DataType.Int32)])
        {
            model.Graph.GetValue(name).Type = new OnnxType.Tensor(type, shape);
        }

        NormalisationPipeline.ForTraining().Run(model);
        IReadOnlyDictionary<string, ITensor> results = OrtRunner.Run(model, new Dictionary<string, ITensor>
        {
            ["x"] = DenseTensor.Of([2, 3, 2], [1f, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            ["counts"] = DenseTensor.Vector(1, 2),
        });

        CollectionAssert.AreEqual((float[])[1, 2, 7, 8, 9, 10], results["tokens"].ToFloats());
        CollectionAssert.AreEqual((long[])[0, 3, 4, 1, 2, 5], results["offsets"].ToInt64s());
        CollectionAssert.AreEqual((long[])[0, 1, 3], results["sums"].ToInt64s());
        CollectionAssert.AreEqual((long[])[2], results["longest"].ToInt64s());
        CollectionAssert.AreEqual((float[])[1, 2, 0, 0, 0, 0, 7, 8, 9, 10, 0, 0], results["y"].ToFloats());
    }

    [TestMethod]
    public void Run_CallThatCannotBeTakenApart_StaysAndSaysWhy()
    {
        FusedCall call = new FusedCall("past", "com.microsoft::GroupQueryAttention").With("num_heads", 2L).With("kv_num_heads", 2L)
            .Float("q", "batch=1,length=2,32").Float("k", "batch=1,length=2,32").Float("v", "batch=1,length=2,32")
            .Float("pk", "batch=1,2,past=3,16").Float("pv", "batch=1,2,past=3,16").Int32("seqlens", "batch=1", 4).Int32("total", "1", 5).Making("y, nk, nv");
        new ShapeInferencePass().Run(call.Model);
        DecompositionPass pass = new();

        Assert.IsFalse(pass.Run(call.Model));

        StringAssert.Contains(pass.Refused.Single(), "it has a past");
        GraphBuilder builder = new(call.Model.Graph, 21);
        Value loss = builder.ReduceSum(call.Model.Graph.GetValue("y"), keepDims: false, 0, 1, 2);
        UnsupportedOpException e = Assert.ThrowsExactly<UnsupportedOpException>(() => GradientBuilder.Build(call.Model, loss, null, [call.Model.Graph.GetValue("q")]));
        StringAssert.Contains(e.Message, "it has a past");
    }

    [TestMethod]
    [DataRow("g_idx")]
    [DataRow("bits")]
    [DataRow("scales")]
    public void Run_BlockQuantizedProductOfAnotherForm_StaysAndSaysWhy(string fault)
    {
        FusedCall call = new FusedCall(fault, "com.microsoft::MatMulNBits").Float("x", "batch=2,32").Bytes("w", 6, 1, 16).Weight("scales", fault == "scales" ? 5 : 6)
            .With("K", 32L).With("N", 6L).With("bits", fault == "bits" ? 3L : 4L).With("block_size", 32L);
        call = (fault == "g_idx" ? call.Skip().Int32("g_idx", "32", new int[32]) : call).Making("y");
        new ShapeInferencePass().Run(call.Model);
        DecompositionPass pass = new();

        Assert.IsFalse(pass.Run(call.Model));

        StringAssert.Contains(pass.Refused.Single(), fault == "bits" ? "3 bits" : fault == "scales" ? "6 elements" : "g_idx");
    }

    // Every float input and weight that the result depends on gets a gradient.
    private static void Differentiate(OnnxModel model)
    {
        Value[] outputs = [.. model.Graph.Outputs.Where(o => o.ElementType == DataType.Float)];
        GraphBuilder builder = new(model.Graph, model.Opset);
        Value loss = outputs.Select(o => builder.ReduceSum(o, keepDims: false, [.. Enumerable.Range(0, o.Shape!.Rank).Select(i => (long)i)])).Aggregate(builder.Add);
        Value[] floats = [.. model.Graph.RequiredInputs.Where(i => i.ElementType == DataType.Float)];
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(model, loss, null, floats);
        Assert.HasCount(floats.Length, gradients);
    }
}
