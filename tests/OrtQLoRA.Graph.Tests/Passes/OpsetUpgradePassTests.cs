using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Passes.OpsetUpgrade;
using OrtQLoRA.Graph.Tests.Inference;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Passes;

[TestClass]
public sealed class OpsetUpgradePassTests
{
    private const string BatchNormalizationInputs = "float[batch, 3, 5]; float{1, 2, 3}; float{3, 2, 1}; float{0.5, 0, 0.25}; float{1, 2, 4}";

    [TestMethod]
    [DataRow(7, "Upsample", "float[batch, 3, n, 5]", "scales=[1.0, 1.0, 2.0, 3.0]", "Resize(x0, , const)")]
    [DataRow(7, "BatchNormalization", BatchNormalizationInputs, "spatial=1; epsilon=0.01", "BatchNormalization(x0, x1, x2, x3, x4)")]
    [DataRow(7, "Dropout", "float[batch, 3]", "ratio=0.75", "Dropout(x0, const)")]
    [DataRow(8, "Softmax", "float[batch, 4, 3]", "", "Flatten(x0) Softmax(Flatten_out) Shape(x0) Reshape(Softmax_out, Shape_out)")]
    [DataRow(9, "Slice", "float[batch, 9]", "starts=[0, 2]; ends=[1, -1]", "Slice(x0, const, const_1)")]
    [DataRow(9, "Slice", "float[batch, 9]", "starts=[2]; ends=[2147483647]; axes=[-1]", "Slice(x0, const, const_1, const_2)")]
    [DataRow(9, "TopK", "float[batch, 9]", "k=3; axis=1", "TopK(x0, const)")]
    [DataRow(9, "Upsample", "float[batch, 3, n, 5]; float{1, 1, 2, 2}", "mode=linear", "Resize(x0, , x1)")]
    [DataRow(9, "Scatter", "float[batch, 3]; int64[batch, 1]; float[batch, 1]", "axis=1", "ScatterElements(x0, x1, x2)")]
    [DataRow(10, "Clip", "float[batch, 3]", "min=-0.5; max=0.25", "Clip(x0, const, const_1)")]
    [DataRow(10, "Clip", "float[batch, 3]", "max=0.25", "Clip(x0, , const)")]
    [DataRow(10, "Clip", "float[batch, 3]", "", "Clip(x0)")]
    [DataRow(10, "Pad", "float[batch, 3]", "pads=[0, 1, 1, 2]; value=0.5", "Pad(x0, const, const_1)")]
    [DataRow(10, "Pad", "float[batch, 3]", "pads=[0, 1, 0, 2]; mode=reflect", "Pad(x0, const)")]
    [DataRow(10, "Resize", "float[batch, 3, n, 5]; float{1, 1, 2, 2.5}", "mode=nearest", "Resize(x0, , x1)")]
    [DataRow(10, "Resize", "float[batch, 3, n, 5]; float{1, 1, 0.5, 0.6}", "mode=nearest", "Resize(x0, , x1)")]
    [DataRow(10, "Resize", "float[1, 1, n, 5]; float{1, 1, 2, 0.6}", "mode=linear", "Resize(x0, , x1)")]
    [DataRow(11, "Softmax", "float[batch, 4, 3]", "axis=2", "Softmax(x0)")]
    [DataRow(11, "Softmax", "float[batch, 4, 3]", "axis=0", "Flatten(x0) Softmax(Flatten_out) Shape(x0) Reshape(Softmax_out, Shape_out)")]
    [DataRow(11, "LogSoftmax", "float[batch, 4, 3]", "axis=-2", "Flatten(x0) LogSoftmax(Flatten_out) Shape(x0) Reshape(LogSoftmax_out, Shape_out)")]
    [DataRow(11, "Hardmax", "float[batch, 4, 3]", "", "Flatten(x0) Hardmax(Flatten_out) Shape(x0) Reshape(Hardmax_out, Shape_out)")]
    [DataRow(11, "Hardmax", "float[batch, 4]", "", "Hardmax(x0)")]
    [DataRow(11, "Squeeze", "float[batch, 1, 3]", "axes=[1]", "Squeeze(x0, const)")]
    [DataRow(11, "Unsqueeze", "float[batch, 3]", "axes=[0, 2]", "Unsqueeze(x0, const)")]
    [DataRow(11, "ReduceSum", "float[batch, 3]", "axes=[-1]; keepdims=0", "ReduceSum(x0, const)")]
    [DataRow(11, "ReduceSum", "float[batch, 3]", "", "ReduceSum(x0)")]
    [DataRow(11, "Split", "float[batch, 8]", "axis=1; split=[3, 5]", "Split(x0, const)", 2)]
    [DataRow(11, "Split", "float[batch, 8]", "axis=-1", "Split(x0)", 4)]
    [DataRow(13, "Split", "float[batch, 8]; int64{2, 6}", "axis=-1", "Split(x0, x1)", 2)]
    [DataRow(13, "Softmax", "float[batch, 4, 3]", "axis=1", "Softmax(x0)")]
    [DataRow(13, "BatchNormalization", BatchNormalizationInputs, "", "BatchNormalization(x0, x1, x2, x3, x4)")]
    [DataRow(15, "RoiAlign", "float[1, 2, 9, 9]; float[1, 4]; int64[1]", "output_height=2; output_width=2", "RoiAlign(x0, x1, x2)")]
    [DataRow(16, "GridSample", "float[1, 2, 4, 4]; float[1, 3, 3, 2]", "", "GridSample(x0, x1)")]
    [DataRow(16, "GridSample", "float[1, 2, 4, 4]; float[1, 3, 3, 2]", "mode=bicubic", "GridSample(x0, x1)")]
    [DataRow(17, "ReduceMean", "float[batch, 3, 4]", "axes=[0, -1]", "ReduceMean(x0, const)")]
    [DataRow(17, "ReduceMax", "float[batch, 3, 4]", "axes=[1]; keepdims=0", "ReduceMax(x0, const)")]
    [DataRow(17, "ReduceL2", "float[batch, 3, 4]", "", "ReduceL2(x0)")]
    [DataRow(17, "ReduceLogSumExp", "float[batch, 3, 4]", "axes=[1]", "ReduceLogSumExp(x0, const)")]
    [DataRow(17, "DFT", "float[1, 8, 6, 1]", "axis=2", "DFT(x0, , const)")]
    [DataRow(17, "LayerNormalization", "float[batch, 4]; float{1, 2, 3, 4}; float{4, 3, 2, 1}", "", "LayerNormalization(x0, x1, x2)")]
    [DataRow(18, "Split", "float[batch, 8]", "axis=1; num_outputs=3", "Split(x0)", 3)]
    [DataRow(20, "Gelu", "float[batch, 4]", "approximate=tanh", "Gelu(x0)")]
    public void Run_OldNode_MeansTheSame(int opset, string operation, string inputs, string attributes, string expected, int outputs = 1)
    {
        RuleCase rule = new(operation, inputs, attributes, operation == "TopK" ? 2 : outputs, opset);
        Dictionary<string, ITensor> feeds = rule.RandomFeeds(seed: 7);
        IReadOnlyDictionary<string, ITensor> before = OrtRunner.Run(rule.Model, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL);
        Assert.IsTrue(new OpsetUpgradePass().Run(rule.Model));
        Assert.AreEqual(21, rule.Model.Opset);
        GraphVerifier.Verify(rule.Model);
        Assert.AreEqual(expected, string.Join(" ", rule.Model.Graph.Nodes.Select(n => n.ToString()[(n.ToString().IndexOf("= ", StringComparison.Ordinal) + 2)..])));
        IReadOnlyDictionary<string, ITensor> after = OrtRunner.Run(rule.Model, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL);
        Assert.AreEqual(string.Join(",", before.Keys), string.Join(",", after.Keys));
        foreach ((string name, ITensor tensor) in before)
        {
            if (tensor.ElementType == DataType.Float)
            {
                TensorAssert.AreClose(tensor, after[name], 1e-6, name);
            }
            else
            {
                TensorAssert.AreEqual(tensor, after[name], name);
            }
        }
    }

    [TestMethod]
    [DataRow(8, "BatchNormalization", BatchNormalizationInputs, "spatial=0", "spatial=0")]
    [DataRow(10, "Resize", "float[1, 3, n, 5]; float{1, 1, 2, 0.5}", "mode=nearest", "enlarges some axes and reduces others")]
    [DataRow(10, "Resize", "float[1, 3, n, 5]; float[4]", "mode=nearest", "scales that are computed")]
    [DataRow(8, "Scan", "_; float[1, 2, 3]", "num_scan_inputs=1", "batch axis of its own")]
    [DataRow(6, "Relu", "float[3]", "", "opsets 7 and later")]
    public void Run_NodeWithoutEqual_IsRefusedByName(int opset, string operation, string inputs, string attributes, string message)
    {
        RuleCase rule = new(operation, inputs, attributes, 1, opset);
        UnsupportedOpException error = Assert.ThrowsExactly<UnsupportedOpException>(() => new OpsetUpgradePass().Run(rule.Model));
        Assert.Contains(message, error.Message);
    }

    [TestMethod]
    public void Run_TrainingModeOutputs_AreDroppedIfUnreadElseRefused()
    {
        OnnxModel model = GraphText.Model(9);
        model.Graph.Input("x", DataType.Float, 2, 3);
        model.Graph.AddInitializer("s", DenseTensor.Vector(1f, 1f, 1f));
        model.Graph.Line("y, m, v, sm, sv = BatchNormalization(x, s, s, s, s)");
        model.Graph.Outputs("y");
        new OpsetUpgradePass().Run(model);
        Assert.AreEqual("y = BatchNormalization(x, s, s, s, s)", model.Graph.Lines());

        OnnxModel training = GraphText.Model(9);
        training.Graph.Input("x", DataType.Float, 2, 3);
        training.Graph.AddInitializer("s", DenseTensor.Vector(1f, 1f, 1f));
        training.Graph.Line("y, m = BatchNormalization(x, s, s, s, s)");
        training.Graph.Outputs("y", "m");
        Assert.Contains("'m'", Assert.ThrowsExactly<UnsupportedOpException>(() => new OpsetUpgradePass().Run(training)).Message);
    }

    [TestMethod]
    [DataRow(4L)]
    [DataRow(null)]
    public void Run_GroupNormalization_ScalesPerChannel(long? channels)
    {
        OnnxModel model = GraphText.Model(18);
        model.Graph.Input("x", DataType.Float, Dimension.Of("batch"), channels is long c ? Dimension.Of(c) : Dimension.Of("channels"), 5);
        model.Graph.AddInitializer("scale", DenseTensor.Vector(2f, 3f));
        model.Graph.AddInitializer("bias", DenseTensor.Vector(-1f, 1f));
        model.Graph.Line("y = GroupNormalization(x, scale, bias)", ("num_groups", 2L));
        model.Graph.Outputs("y");
        new OpsetUpgradePass().Run(model);

        // The runtime does not run opset 18's form, which ONNX itself withdrew: compare with the definition.
        Random random = new(3);
        float[] x = [.. Enumerable.Range(0, 2 * 4 * 5).Select(_ => random.NextSingle())];
        float[] expected = new float[x.Length];
        for (int group = 0; group < 4; group++)
        {
            float[] part = x[(group * 10)..((group + 1) * 10)];
            double mean = part.Average();
            double deviation = Math.Sqrt(part.Average(v => (v - mean) * (v - mean)) + 1e-5);
            for (int i = 0; i < 10; i++)
            {
                expected[(group * 10) + i] = (float)(((part[i] - mean) / deviation * (group % 2 == 0 ? 2 : 3)) + (group % 2 == 0 ? -1 : 1));
            }
        }

        Dictionary<string, ITensor> feeds = new() { ["x"] = DenseTensor.Of([2, 4, 5], x) };
        TensorAssert.AreClose(DenseTensor.Of([2, 4, 5], expected), OrtRunner.Run(model, feeds)["y"], 1e-5);
    }

    [TestMethod]
    public void Run_NodesInBranchesAndFunctions_AreUpgraded()
    {
        OnnxModel model = GraphText.Model(11);
        model.Graph.Input("x", DataType.Float, 2);
        model.Graph.Input("c", DataType.Bool);
        Node node = model.Graph.Line("y = If(c)");
        OnnxGraph branch = new("branch", model.Graph);
        branch.Line("u = Unsqueeze(x)", ("axes", new[] { 0L }));
        branch.Outputs("u");
        node.SetAttribute("then_branch", NodeAttribute.Of(branch));
        OnnxGraph body = new("F");
        body.AddInput("a", type: null);
        body.Line("b = Squeeze(a)", ("axes", new[] { 0L }));
        body.Outputs("b");
        OnnxFunction function = new("local", "F", "", body);
        function.OpsetImports[""] = 11;
        model.Functions.Add(function);
        new OpsetUpgradePass().Run(model);
        Assert.AreEqual("u = Unsqueeze(x, const)", branch.Lines());
        Assert.IsTrue(branch.TryGetValue("const", out _), "the constant stands in the branch that reads it");
        Assert.AreEqual("const_1 = Constant()\nb = Squeeze(a, const_1)", body.Lines());
        Assert.AreEqual(21, function.OpsetImports[""]);
    }

    [TestMethod]
    [DataRow(21)]
    [DataRow(22)]
    [DataRow(24)]
    public void Run_LaterOpset_Stays(int opset)
    {
        OnnxModel model = GraphText.Model(opset);
        model.Graph.Input("x", DataType.Float, 2);
        model.Graph.Line("y = Relu(x)");
        Assert.IsFalse(new OpsetUpgradePass().Run(model));
        Assert.AreEqual(opset, model.Opset);
    }

    [TestMethod]
    public void Run_OtherDomain_Stays()
    {
        OnnxModel model = GraphText.Model(11);
        model.Graph.Input("x", DataType.Float, 2);
        model.Graph.Line("y = custom::Unsqueeze(x)", ("axes", new[] { 0L }));
        new OpsetUpgradePass().Run(model);
        Assert.AreEqual("y = custom.Unsqueeze(x)", model.Graph.Lines());
    }

    [TestMethod]
    public void Rules_AreOrderedByVersionAndUnique()
    {
        CollectionAssert.AreEqual(UpgradeTable.Rules.OrderBy(r => r.Version).ThenBy(r => r.OpType, StringComparer.Ordinal).ToArray(), UpgradeTable.Rules.ToArray());
        Assert.HasCount(UpgradeTable.Rules.Count, UpgradeTable.Rules.DistinctBy(r => (r.OpType, r.Version)));
    }
}
